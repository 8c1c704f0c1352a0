package mobile_test

import (
	"strings"
	"testing"
	"time"

	"thimble/mobile"
)

// An answer ends soon after Cancel, and after Close a chat returns an error; neither waits
// for the end of the answer.
func TestCancel(t *testing.T) {
	m, err := mobile.Open(model(t), &mobile.Options{Context: 100, KV: "int8"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.NewChat(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Say(question); err != nil {
		t.Fatal(err)
	}
	if text, err := c.Next(); text == "" || err != nil {
		t.Fatalf("%q, %v", text, err)
	}
	if c.Reason() != "" || m.CacheBytes() == 0 {
		t.Errorf("reason %q and a cache of %d bytes during an answer", c.Reason(), m.CacheBytes())
	}
	c.Cancel()
	if text, err := c.Next(); text != "" || err != nil || c.Reason() != mobile.ReasonCanceled {
		t.Errorf("after Cancel: %q, %v, %q", text, err, c.Reason())
	}
	if err := c.Say("And?"); err != nil { // the chat goes on
		t.Fatal(err)
	}
	if answer(t, c); c.Reason() != mobile.ReasonContext {
		t.Errorf("the answer ends by %q, want the context of 100", c.Reason())
	}
	if err := c.Say("More?"); err == nil || !strings.Contains(err.Error(), "no room for an answer in the context of 100") {
		t.Errorf("a full context: %v", err)
	}
	c.Reset()
	if err := c.Say("Again?"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		for {
			if text, err := c.Next(); err != nil || text == "" {
				ended <- err
				return
			}
		}
	}()
	time.Sleep(time.Millisecond)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if _, err := c.Next(); err == nil {
		t.Error("a chat of a closed model answers")
	}
	if _, err := m.NewChat(nil); err == nil {
		t.Error("a closed model begins a chat")
	}
	c.Close()
}

func TestRefused(t *testing.T) {
	if _, err := mobile.Open("nowhere.thimble", nil); err == nil {
		t.Error("a file that does not exist opens")
	}
	path := model(t)
	for _, o := range []mobile.Options{{KV: "int99"}, {Context: -1}, {Context: 1 << 30}} {
		if _, err := mobile.Open(path, &o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	m, err := mobile.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, s := range []mobile.Settings{{Temperature: -1}, {TopP: 2}, {MaxTokens: -1}} {
		if _, err := m.NewChat(&s); err == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
	if !m.HasTemplate() || m.WeightBytes() < 1e5 || m.Context() < 100 {
		t.Errorf("%v, %d bytes, %d positions", m.HasTemplate(), m.WeightBytes(), m.Context())
	}
}

// A wrong date is refused before the file is opened.
func TestDate(t *testing.T) {
	path := model(t)
	if _, err := mobile.Open(path, &mobile.Options{Date: "26 July"}); err == nil || !strings.Contains(err.Error(), "want one such as 2024-07-26") {
		t.Errorf("%v", err)
	}
	m, err := mobile.Open(path, &mobile.Options{Date: "2031-03-09"})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
}
