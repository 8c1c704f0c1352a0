package stray

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
)

// maxJSON bounds the JSON files whose keys are read.
const maxJSON = 64 << 20

// A keyed kind is recognized by the keys of a JSON object or a YAML mapping, all of which
// it has.
type keyed struct {
	keys []string
	text string
}

const directory = " of a Hugging Face directory; name the directory"

// objects lists kinds of JSON files.
var objects = []keyed{
	{[]string{"format", "costs", "schemes"}, "a saved survey; give it to thimble quantize --stats"},
	{[]string{"schema", "gates", "metrics"}, "a report of thimble verify; give it to thimble verify --baseline"},
	{[]string{"prefill_tokens_per_second"}, "a result of thimble bench; give it to thimble verify --bench"},
	{[]string{"weights", "texts", "rows", "cores"}, "a result of thimble curve; curve.md in the same folder shows it"},
	{[]string{"model", "added_tokens"}, "a tokenizer, not the weights; name its directory, or give the file to thimble tokenize"},
	{[]string{"tokenizer_class"}, "the tokenizer's configuration" + directory},
	{[]string{"weight_map"}, "the index of the shards" + directory},
	{[]string{"peft_type"}, "the configuration of a LoRA adapter; name its base model, and the directory of the adapter with --lora"},
	{[]string{"model_type"}, "the configuration" + directory},
	{[]string{"architectures"}, "the configuration" + directory},
	{[]string{"n_layers", "dim"}, "the configuration of one of Meta's directories; name the directory"},
	{[]string{"eos_token_id"}, "the generation settings" + directory},
}

// items lists kinds of JSON files with one object per line.
var items = []keyed{
	{[]string{"prompt", "choices"}, "a tasks file; give it to thimble verify --tasks"},
	{[]string{"prompt", "expected"}, "a tasks file; give it to thimble verify --tasks"},
	{[]string{"prompt", "call"}, "a tasks file; give it to thimble verify --tasks"},
	{[]string{"messages"}, conversations},
	{[]string{"conversations"}, conversations},
	{[]string{"text"}, conversations},
}

const conversations = "a file of conversations or texts; give it to thimble quantize --calib"

// mappings lists kinds of YAML files.
var mappings = []keyed{
	{[]string{"models", "recipes", "texts"}, "a plan; give it to thimble sweep"},
	{[]string{"gates"}, policy},
	{[]string{"tolerance"}, policy},
	{[]string{"rules"}, policy},
	{[]string{"scheme"}, "a recipe; give it to thimble quantize --recipe"},
	{[]string{"- scheme"}, rows},
	{[]string{"- size"}, rows},
	{[]string{"- bpw"}, rows},
	{[]string{"- file"}, rows},
	{[]string{"- {name"}, rows},
	{[]string{"- {size"}, rows},
}

const (
	privateKey = "a private key; keep it secret, and sign a model with it: thimble sign MODEL --key FILE"
	publicKey  = "a public key; check a model's signature with it: thimble inspect MODEL --trust FILE"

	policy = "a policy; give it to thimble verify --policy"
	rows   = "rows for thimble curve; give it to thimble curve --rows"
)

// marks lists kinds of text files by their first characters, without regard to case.
var marks = []struct{ start, text string }{
	{"<!doctype html", webPage},
	{"<html", webPage},
	{"<svg", "a picture" + notRight},
	{"<?xml", "an XML file" + notRight},
	{"#!", "a script" + notRight},
	{"-----begin ssh signature", "a signature; name the model beside it, and the key that you trust: thimble inspect MODEL --trust KEY.pub"},
	{"-----begin openssh private key", privateKey},
	{"-----begin private key", privateKey},
	{"-----begin encrypted private key", privateKey},
	{"-----begin rsa private key", privateKey},
	{"-----begin ec private key", privateKey},
	{"ssh-ed25519 ", publicKey},
	{"ssh-rsa ", publicKey},
	{"ecdsa-sha2-", publicKey},
	{"sk-ssh-ed25519", publicKey},
}

// find returns the text of the first kind whose keys are all in keys.
func find(kinds []keyed, keys []string) (string, bool) {
	for _, k := range kinds {
		if !slices.ContainsFunc(k.keys, func(key string) bool { return !slices.Contains(keys, key) }) {
			return k.text, true
		}
	}
	return "", false
}

// lookAtText describes a text file by its content, of which head is the beginning.
func lookAtText(f io.ReaderAt, head []byte, size int64) (string, bool) {
	head = bytes.TrimPrefix(head, []byte("\ufeff"))
	if !isText(head, size > headBytes) {
		return "", false
	}
	start := strings.ToLower(strings.TrimSpace(string(head[:min(len(head), 64)])))
	for _, m := range marks {
		if strings.HasPrefix(start, m.start) {
			return m.text, true
		}
	}
	if strings.HasPrefix(start, "{") || strings.HasPrefix(start, "[") {
		return lookAtJSON(io.NewSectionReader(f, 0, min(size, maxJSON))), true
	}
	if text, ok := find(mappings, yamlKeys(head)); ok {
		return text, true
	}
	return "a text; give it to thimble quantize --calib or to thimble verify --text", true
}

// isText reports whether head is UTF-8 without control characters. If cut is set, it may
// end within a character.
func isText(head []byte, cut bool) bool {
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		switch {
		case r == utf8.RuneError && n <= 1:
			return cut && len(head) < utf8.UTFMax
		case r < ' ' && !strings.ContainsRune("\t\n\r\f\v\b\x1b", r):
			return false
		}
		head = head[n:]
	}
	return true
}

// yamlKeys returns the keys that begin lines of a YAML mapping, and "- KEY" for those of
// a list.
func yamlKeys(head []byte) (keys []string) {
	for line := range strings.Lines(string(head)) {
		if key, _, ok := strings.Cut(line, ":"); ok && key != "" && key[0] != ' ' && key[0] != '#' {
			keys = append(keys, key)
		}
	}
	return keys
}

// lookAtJSON describes JSON by the keys of its first object.
func lookAtJSON(r io.Reader) string {
	d := json.NewDecoder(r)
	keys, err := keysOf(d)
	if text, ok := find(objects, keys); ok {
		return text
	}
	if text, ok := find(items, keys); ok {
		return text
	}
	switch {
	case err != nil:
		return "damaged or cut-off JSON" + notRight
	case len(keys) == 0:
		return "a JSON file" + notRight
	}
	if len(keys) > 4 {
		keys = append(keys[:4:4], "...")
	}
	return "a JSON file with " + defect.Printable(strings.Join(keys, ", ")) + notRight
}

// keysOf returns the keys of the object that d begins with, nil if it begins with
// something else. Values may be nested; only their tokens are read.
func keysOf(d *json.Decoder) (keys []string, err error) {
	t, err := d.Token()
	if err != nil || t != json.Delim('{') {
		return nil, err
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return keys, err
		}
		key, _ := t.(string)
		keys = append(keys, key)
		if err := skip(d); err != nil {
			return keys, err
		}
	}
	_, err = d.Token()
	return keys, err
}

// skip reads a value.
func skip(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// shown returns the path of a file in a directory, for a message.
func shown(directory, name string) string { return defect.Printable(filepath.Join(directory, name)) }
