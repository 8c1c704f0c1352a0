package gguf

import (
	"slices"
	"strings"
	"testing"

	"thimble/format/export"
	"thimble/format/gguf/vocab"
	"thimble/internal/tokenizer"
)

// gpt-oss has the steps of gpt-4o and ignore_merges: a note, and a key of ours.
func TestOtherIgnoreMerges(t *testing.T) {
	m := tiny(t, "f16")
	d, _ := m.Tokenizer()
	d.Steps, d.IgnoreMerges = []tokenizer.Step{"isolated:a|x"}, true
	if _, err := exporter.Plan(m, export.Options{}); err == nil {
		t.Error("steps of no pre-tokenizer are exported")
	}
	d.Steps = vocab.PreTokenizerNamed("qwen35").Steps
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
