package gguf

import (
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/internal/tokenizer"
)

// Every entry is valid, its names are its own, and it comes back from a file.
func TestPreTokenizers(t *testing.T) {
	seen := map[string]bool{}
	for i, p := range preTokenizers {
		for _, name := range p.names {
			if seen[name] || findPreTokenizer(name) != &preTokenizers[i] {
				t.Errorf("%q is listed twice", name)
			}
			seen[name] = true
		}
		d := &tokenizer.Data{Model: tokenizer.ByteLevelBPE, Tokens: [][]byte{[]byte("a")}, Steps: p.steps, IgnoreMerges: p.ignoreMerges, BOS: -1, EOS: -1, Pad: -1, Unk: -1}
		if _, err := tokenizer.New(d); err != nil {
			t.Errorf("%s: %v", p.names[0], err)
		}
		if found := preTokenizerOf(d); found == nil || found.ignoreMerges != p.ignoreMerges || !slices.Equal(found.steps, p.steps) {
			t.Errorf("%s: export finds %v", p.names[0], found)
		}
	}
	if len(seen) < 75 {
		t.Errorf("%d names", len(seen))
	}
}

// gpt-oss has the steps of gpt-4o and ignore_merges: a note, and a key of ours.
func TestOtherIgnoreMerges(t *testing.T) {
	m := tiny(t, "f16")
	d, _ := m.Tokenizer()
	d.Steps, d.IgnoreMerges = []tokenizer.Step{split(gpt4o + "|x")}, true
	if _, err := exporter.Plan(m, export.Options{}); err == nil {
		t.Error("steps of no pre-tokenizer are exported")
	}
	d.Steps = findPreTokenizer("qwen35").steps
	e, data := write(t, m)
	if !slices.ContainsFunc(e.Notes, func(n string) bool { return strings.Contains(n, "llama.cpp merges every piece") }) {
		t.Errorf("notes are %q", e.Notes)
	}
	if back, err := opened(t, data).Tokenizer(); err != nil || !back.IgnoreMerges {
		t.Errorf("ignore_merges does not come back: %v", err)
	}
}

// gemma4 merges characters by rank and turns spaces into marks first.
func TestGemma4(t *testing.T) {
	d := gemma()
	_, data := write(t, gemmaModel(t, 270))
	f := draftOf(t, data)
	for _, key := range []string{"thimble.tokenizer.cut", "thimble.tokenizer.tokens", "tokenizer.ggml.scores"} {
		f.set(key, nil)
	}
	f.set("tokenizer.ggml.model", "gemma4")
	f.set("tokenizer.ggml.merges", []string{"a b", "▁ ab", "▁a b", "▁ a"})
	m := opened(t, f.bytes())
	sameIDs(t, "gemma4", d, m, "ab", "a b", "a  b", "a\n\nb", "é")
}
