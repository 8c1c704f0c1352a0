package gguf

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/gguf/vocab"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

func sameIDs(t *testing.T, name string, d *tokenizer.Data, m *model.Model, texts ...string) {
	t.Helper()
	want, err := tokenizer.New(d)
	if err != nil {
		t.Fatal(err)
	}
	back, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	got, err := tokenizer.New(back)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if a, b := got.Encode(text, true), want.Encode(text, true); !slices.Equal(a, b) {
			t.Errorf("%s: %q has ids %v, want %v", name, text, a, b)
		}
		if ids := want.Encode(text, false); d.SentencePiece != nil && string(got.Decode(ids)) != string(want.Decode(ids)) {
			t.Errorf("%s: %v is %q, want %q", name, ids, got.Decode(ids), want.Decode(ids))
		}
	}
}

// Both forms of a sentencepiece tokenizer come back with its ids.
func TestPiecesComeBack(t *testing.T) {
	for name, d := range map[string]*tokenizer.Data{"sentencepiece": pieces(), "json": merged()} {
		m, _ := exported(t, withTokenizer(t, d))
		sameIDs(t, name, d, m, "", "ab", " ab", "a b  ab", "bab aab", "aé\n", "  ", "abababab ba")
	}
}

// The template for tools comes back from the keys that llama.cpp's converter writes; a template
// for documents is left out with a note.
func TestToolTemplate(t *testing.T) {
	m := tiny(t, "int8/g32")
	d, err := m.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	for _, chat := range []string{"{{ x }}", ""} {
		d.ChatTemplate, d.ToolTemplate = chat, "{{ tools }}"
		_, data := write(t, m)
		if f := parse(t, data); f.keys["tokenizer.chat_template.tool_use"] != "{{ tools }}" || fmt.Sprint(f.keys["tokenizer.chat_templates"]) != "[tool_use]" {
			t.Errorf("keys %v", f.keys)
		}
		back, err := opened(t, data).Tokenizer()
		if err != nil || back.ChatTemplate != chat || back.ToolTemplate != "{{ tools }}" || len(back.Notes) > 0 {
			t.Errorf("%q, %q, notes %q, %v", back.ChatTemplate, back.ToolTemplate, back.Notes, err)
		}
		rag := bytes.Replace(data, []byte("chat_template.tool_use"), []byte("chat_template.document"), 1)
		back, err = opened(t, rag).Tokenizer()
		if err != nil || back.ToolTemplate != "" || len(back.Notes) != 1 || !strings.Contains(back.Notes[0], `"document" is left out`) {
			t.Errorf("%q, notes %q, %v", back.ToolTemplate, back.Notes, err)
		}
	}
}

// A tokenizer.json whose steps add the first space, by a key of ours.
func TestStepsComeBack(t *testing.T) {
	text, err := os.ReadFile("../../internal/tokenizer/testdata/strings.json")
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	if err := json.Unmarshal(text, &texts); err != nil {
		t.Fatal(err)
	}
	llama, err := checkpoint(t, "mobilellm-facebook", "share_embedding=true").Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	legacy, unigram := merged(), merged()
	legacy.Normalizer, legacy.Steps, legacy.Decoder = nil, []tokenizer.Step{tokenizer.StepEscape, tokenizer.StepMark}, llama.Decoder
	legacy.Added = append(legacy.Added, tokenizer.Added{ID: 265, Content: "<user>"})
	legacy.Tokens, legacy.Literal = append(legacy.Tokens, []byte("<user>")), []uint32{265}
	unigram.Model, unigram.ByteFallback, unigram.Merges, unigram.Unknown = tokenizer.Unigram, false, nil, tokenizer.UnknownRun
	unigram.Normalizer, unigram.Steps, unigram.Decoder = nil, llama.Steps, llama.Decoder
	for id := range unigram.Tokens {
		unigram.Scores = append(unigram.Scores, -float64(id)/256)
	}
	for name, d := range map[string]*tokenizer.Data{"llama": llama, "legacy": legacy, "unigram": unigram} {
		s := specs()["llama"]
		s.Vocab, s.BOS, s.EOS = len(d.Tokens), -1, []int{}
		m := filled(t, s)
		m.Tokenizer = func() (*tokenizer.Data, error) { return d, nil }
		_, file := write(t, m)
		got := opened(t, file)
		sameIDs(t, name, d, got, append(texts, "", " ", "  a<user> b", " a</s> b<s>", "ab ab  b")...)
		back, err := got.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		a, err := tokenizer.New(d)
		if err != nil {
			t.Fatal(err)
		}
		b, err := tokenizer.New(back)
		if err != nil {
			t.Fatal(err)
		}
		ids := a.Encode("ab  ba", true)
		if back.SentencePiece != nil || string(a.Decode(ids)) != string(b.Decode(ids)) {
			t.Errorf("%s: %v is %q, want %q", name, ids, b.Decode(ids), a.Decode(ids))
		}
		f := draftOf(t, file)
		f.set("thimble.tokenizer.steps", []string{"escape", "leap"})
		if _, err := opened(t, f.bytes()).Tokenizer(); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), `"[escape leap]"`) {
			t.Errorf("%s: other steps: %v", name, err)
		}
	}
	llama.Tokens[9] = bytes.Repeat([]byte("x"), vocab.MaxPiece+1)
	m := filled(t, func() model.Spec { s := specs()["llama"]; s.Vocab = len(llama.Tokens); return s }())
	m.Tokenizer = func() (*tokenizer.Data, error) { return llama, nil }
	if _, err := exporter.Plan(m, export.Options{}); !errors.Is(err, defect.ErrUnsupported) || !strings.Contains(err.Error(), "token 9, of 1025 bytes") {
		t.Errorf("a long token: %v", err)
	}
}

func TestUnigramComesBack(t *testing.T) {
	d := pieces()
	d.Model, d.ByteFallback = tokenizer.SentencePieceUnigram, false
	for id := range d.Kinds {
		if d.Kinds[id] == tokenizer.KindByte {
			d.Kinds[id] = tokenizer.KindNormal
		}
	}
	d.Unknown, d.SentencePiece.UnkSurface = tokenizer.UnknownRun, " \u2047 "
	m, _ := exported(t, withTokenizer(t, d))
	sameIDs(t, "unigram", d, m, "", "ab", " ab", "a b  ab", "xyz ab", "abababab ba")
}

// Qwen's files do not tell that characters are composed first; ours do.
func TestComposedCharacters(t *testing.T) {
	for name, change := range map[string]func(*tokenizer.Data, *draft){
		"ours": func(*tokenizer.Data, *draft) {},
		"not ours": func(_ *tokenizer.Data, f *draft) {
			f.set("thimble.tokenizer.nfc", nil)
			f.set("thimble.tokenizer.tokens", nil)
		},
	} {
		m := tiny(t, "f16")
		d, err := m.Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		d.Steps, d.Normalizer = []tokenizer.Step{tokenizer.StepQwen2}, []tokenizer.Rule{{Op: tokenizer.OpNFC}}
		_, data := write(t, m)
		f := draftOf(t, data)
		change(d, f)
		back, err := opened(t, f.bytes()).Tokenizer()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(back.Normalizer, d.Normalizer) || !slices.Equal(back.Steps, d.Steps) {
			t.Errorf("%s: normalizer %v and steps %v", name, back.Normalizer, back.Steps)
		}
	}
	m := tiny(t, "f16")
	d, _ := m.Tokenizer()
	d.Steps = []tokenizer.Step{tokenizer.StepQwen2}
	got, _ := exported(t, m)
	if back, err := got.Tokenizer(); err != nil || len(back.Normalizer) > 0 {
		t.Errorf("normalizer %v, %v, of a tokenizer without", back, err)
	}
}
