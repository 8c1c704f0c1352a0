package tokenfile

import (
	"slices"
	"strings"
	"testing"

	"thimble/internal/tokenizer"
)

func TestApplyConfig(t *testing.T) {
	d := drafted(t, "added")
	err := d.readConfig(beside(`{"bos_token":"<|begin|>","eos_token":{"__type":"AddedToken","content":"<|end|>","lstrip":false,"normalized":false},
		"pad_token":null,"unk_token":"!","add_prefix_space":false,"add_bos_token":true,"clean_up_tokenization_spaces":true,
		"added_tokens_decoder":{"1":{"content":"<|begin|>","lstrip":false,"special":true}},
		"chat_template":[{"name":"tool","template":"no"},{"name":"default","template":"yes"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if d.BOS != 1 || d.EOS != 2 || d.Pad != -1 || d.Unk != 3 || d.ChatTemplate != "yes" || len(d.Prefix) > 0 {
		t.Errorf("bos %d eos %d pad %d unk %d template %q prefix %v", d.BOS, d.EOS, d.Pad, d.Unk, d.ChatTemplate, d.Prefix)
	}
	tok, err := tokenizer.New(&d.Data)
	if err != nil {
		t.Fatal(err)
	}
	if !tok.IsSpecial(3) || !slices.Equal(tok.Encode("!", false), []int{3}) {
		t.Error("the unk_token of the config is not special")
	}
	if err := d.readConfig(beside(`{"chat_template":"plain"}`)); err != nil || d.ChatTemplate != "plain" || d.BOS != 1 {
		t.Errorf("second config: %v, template %q, bos %d", err, d.ChatTemplate, d.BOS)
	}
}

// A template for tools is kept beside the default one; one that is used only by name is left out.
func TestNamedTemplates(t *testing.T) {
	for config, want := range map[string][2]string{
		`{"chat_template":[{"name":"tool_use","template":"T"},{"name":"rag","template":"R"},{"name":"default","template":"D"}]}`: {"D", "T"},
		`{"chat_template":{"default":"D","tool_use":"T","rag":"R"}}`:                                                             {"D", "T"},
		`{"chat_template":[{"name":"tool_use","template":"T"},{"name":"rag","template":"R"}]}`:                                   {"", "T"},
	} {
		d := drafted(t, "added")
		if err := d.readConfig(beside(config)); err != nil || d.ChatTemplate != want[0] || d.ToolTemplate != want[1] {
			t.Errorf("%s: %q and %q, %v", config, d.ChatTemplate, d.ToolTemplate, err)
		}
		if n := len(d.Notes); n != 1 || !strings.Contains(d.Notes[0], `"rag" is left out`) {
			t.Errorf("%s: notes %q", config, d.Notes)
		}
		_, written, err := JSON(&d.Data, 512)
		if err != nil {
			t.Fatal(err)
		}
		again := drafted(t, "added")
		if err := again.readConfig(Files{Config: written}); err != nil || again.ChatTemplate != want[0] || again.ToolTemplate != want[1] {
			t.Errorf("%s: written and read again %q and %q, %v", config, again.ChatTemplate, again.ToolTemplate, err)
		}
	}
}

func TestApplyConfigErrors(t *testing.T) {
	for _, c := range []struct {
		in          string
		unsupported bool
		want        string
	}{
		{`[]`, false, `found an array, want an object`},
		{`{"a":1,"a":1}`, false, `key "a" occurs twice`},
		{`{"bos_token":7}`, false, `bos_token: want a token`},
		{`{"add_prefix_space":true}`, false, `add_prefix_space: true contradicts`},
		{`{"split_special_tokens":true}`, true, `split_special_tokens: true`},
		{`{"chat_template":7}`, false, `chat_template: want a string, a list or an object, found a number`},
		{`{"chat_template":[{"name":"default"}]}`, false, `template: want a string, found null`},
		{`{"added_tokens_decoder":{"01":{"content":"<|begin|>"}}}`, false, `"01" is not a token id`},
		{`{"added_tokens_decoder":{"1":{"special":true}}}`, false, `content: want a string, found null`},
		{`{"added_tokens_decoder":[]}`, false, `want an object, found an array`},
	} {
		checkError(t, drafted(t, "added").readConfig(beside(c.in)), c.unsupported, c.want)
	}
}

func beside(config string) Files { return Files{Config: []byte(config)} }

// What transformers 5.24 makes of the files beside a tokenizer.json of 403 tokens, of which 0, 1,
// 2, 400, 401 and 402 are added ones.
func TestOthers(t *testing.T) {
	old := len(drafted(t, "added").Added)
	next := uint32(len(drafted(t, "added").Tokens))
	special := func(id uint32, text string) tokenizer.Added {
		return tokenizer.Added{ID: id, Content: text, Special: true}
	}
	for _, c := range []struct {
		config, added, specials string
		want                    []tokenizer.Added
	}{
		{`{"pad_token":"[PAD]","unk_token":"<unk>"}`, "", "", []tokenizer.Added{special(next, "<unk>"), special(next+1, "[PAD]")}},
		{`{"additional_special_tokens":["<x>",{"content":"<y>","lstrip":true}],"image_token":"<img>"}`, "", "",
			[]tokenizer.Added{special(next, "<img>"), special(next+1, "<x>"), {ID: next + 2, Content: "<y>", Special: true, LStrip: true}}},
		{`{"extra_special_tokens":{"b_token":"<b>","a_token":"<a>"},"additional_special_tokens":["<x>"]}`, "", "",
			[]tokenizer.Added{special(next, "<b>"), special(next+1, "<a>"), special(next+2, "<x>")}},
		{`{"extra_special_tokens":["<e>"],"additional_special_tokens":["<x>"],"model_max_length":Infinity}`, "", "", []tokenizer.Added{special(next, "<e>")}},
		{`{"pad_token":"[PAD]"}`, `{"[PAD]":9001,"<n>":9000}`, "", []tokenizer.Added{{ID: next, Content: "<n>", Normalized: true}, special(next+1, "[PAD]")}},
		{`{}`, "", `{"pad_token":{"content":"[PAD]","normalized":true},"additional_special_tokens":["<m>"]}`,
			[]tokenizer.Added{{ID: next, Content: "[PAD]", Special: true, Normalized: true}, special(next+1, "<m>")}},
		{`{"added_tokens_decoder":{"9000":{"content":"<n>","special":true}}}`, `{"<ignored>":403}`, `{"pad_token":"[PAD]"}`, []tokenizer.Added{special(next, "<n>")}},
	} {
		d := drafted(t, "added")
		if err := d.readConfig(Files{Config: []byte(c.config), Added: []byte(c.added), Specials: []byte(c.specials)}); err != nil {
			t.Errorf("%s: %v", c.config, err)
		} else if got := d.Added[old:]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.config, got, c.want)
		} else if err := d.Check(); err != nil || len(d.Notes) == 0 {
			t.Errorf("%s: %v, notes %q", c.config, err, d.Notes)
		}
	}
	d := drafted(t, "added")
	if err := d.readConfig(beside(`{"added_tokens_decoder":{"1":{"content":"<|begin|>","lstrip":true,"rstrip":true,"normalized":false}},"bos_token":"<|begin|>"}`)); err != nil {
		t.Fatal(err)
	}
	if a := d.Added[1]; len(d.Added) != old || a != (tokenizer.Added{ID: 1, Content: "<|begin|>", Special: true, LStrip: true, RStrip: true}) {
		t.Errorf("flags in the list do not replace those of tokenizer.json: %+v", a)
	}
}
