package tokenfile

import (
	"slices"
	"testing"

	"thimble/internal/tokenizer"
)

func TestApplyConfig(t *testing.T) {
	d := drafted(t, "added")
	err := d.readConfig([]byte(`{"bos_token":"<|begin|>","eos_token":{"__type":"AddedToken","content":"<|end|>","lstrip":false,"normalized":false},
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
	if err := d.readConfig([]byte(`{"chat_template":"plain"}`)); err != nil || d.ChatTemplate != "plain" || d.BOS != 1 {
		t.Errorf("second config: %v, template %q, bos %d", err, d.ChatTemplate, d.BOS)
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
		{`{"bos_token":"<nowhere>"}`, false, `bos_token: "<nowhere>" is not in the vocabulary`},
		{`{"bos_token":7}`, false, `bos_token: want a token`},
		{`{"bos_token":{"content":"<mask>","lstrip":false}}`, false, `bos_token.lstrip: false contradicts tokenizer.json`},
		{`{"add_prefix_space":true}`, false, `add_prefix_space: true contradicts`},
		{`{"split_special_tokens":true}`, true, `split_special_tokens: true`},
		{`{"fix_mistral_regex":true}`, true, `fix_mistral_regex: true`},
		{`{"chat_template":7}`, false, `chat_template: want a string or a list, found a number`},
		{`{"chat_template":[{"name":"default"}]}`, false, `template: want a string, found null`},
		{`{"added_tokens_decoder":{"1":{"content":"<other>"}}}`, false, `added_tokens_decoder.1: <other> contradicts`},
		{`{"added_tokens_decoder":{"999":{"content":"<|begin|>"}}}`, false, `added_tokens_decoder.999`},
		{`{"added_tokens_decoder":{"400":{"content":"<mask>","lstrip":false}}}`, false, `added_tokens_decoder.400.lstrip`},
		{`{"added_tokens_decoder":[]}`, false, `want an object, found an array`},
	} {
		checkError(t, drafted(t, "added").readConfig([]byte(c.in)), c.unsupported, c.want)
	}
}
