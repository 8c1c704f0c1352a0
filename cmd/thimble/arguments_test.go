package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
	"pgregory.net/rapid"
)

// Arbitrary arguments lead to one of the three exit codes, and errors take one line.
func TestArbitraryArguments(t *testing.T) {
	model, err := filepath.Abs("../../fixtures/llama-tied")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	mustRun(t, "quantize", model, "-o", "q.thimble", "--scheme", "int8/g32")

	words := []string{model, model, "q.thimble", "q.thimble", filepath.Join(model, "tokenizer.json"), filepath.Join(model, "reference.safetensors"),
		"", "-", "--", "-o", "out", "a b", "-1", "0", "3", "16", "99999999999999999999", "nan", "é", "\x00", "\xff", "=", "--=", "-=x", "---", "--scheme=",
		"int4/g32", "int8/row", "f16", "keep", "rtn", "kl<=1", "top1>=0", "kl<=nan", "blocks.*.q=int8/g64", "layer_sharing=true", "vocab_size=3", "bash"}
	var commands []string
	for _, cmd := range newApp(nil, nil).Commands {
		if cmd.Name != "demo" { // demo takes seconds
			commands = append(commands, cmd.Name)
		}
		for _, f := range cmd.Flags {
			words = append(words, "--"+f.Names()[0])
			if doc := f.(cli.DocGenerationFlag); doc.TakesValue() {
				words = append(words, "--"+f.Names()[0]+"=1")
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		args := append([]string{rapid.SampledFrom(commands).Draw(t, "command")}, rapid.SliceOfN(rapid.SampledFrom(words), 0, 8).Draw(t, "words")...)
		if args[0] == "serve" { // with a model it would not end
			args = slices.DeleteFunc(args, func(word string) bool { return word == model || word == "q.thimble" })
		}
		code, _, stderr := thimbleRun(args...)
		switch code {
		case exitDone, exitRefused:
			if stderr != "" && !slices.Contains(args, "--annotate") {
				t.Errorf("%q: exit %d, %s", args, code, stderr)
			}
		case exitFailed:
			if err := oneComplaint(stderr); err != nil {
				t.Errorf("%q: %v", args, err)
			}
		default:
			t.Errorf("%q: exit %d", args, code)
		}
		if left, _ := filepath.Glob(".thimble-*"); len(left) > 0 {
			t.Errorf("%q left %s", args, strings.Join(left, ", "))
		}
	})
}
