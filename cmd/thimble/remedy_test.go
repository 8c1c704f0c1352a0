package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Every remedy with a number clears its message when it is followed.
func TestRemediesClear(t *testing.T) {
	tied, trained := "../../fixtures/llama-tied", "../../fixtures/trained"
	dir := t.TempDir()
	long, err := os.ReadFile(filepath.Join(trained, "heldout.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := func(name string, bytes int) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, long[:bytes], 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	short, all := text("short.txt", 150), filepath.Join(trained, "heldout.txt")
	quantize := slices.Clip([]string{"quantize", tied, "--dry-run"})
	calibrate := slices.Clip(append(quantize, "--method", "gptq", "--scheme", "int4/g32"))
	budget := slices.Clip(append(quantize, "--calib", all, "--calib-context", "16", "--calib-tokens", "64", "--schemes", "int4/g32,int5/g32"))
	for _, c := range []struct {
		args    []string
		message string // its group is the value that it asks for
		flag    string
	}{
		{append(budget, "--target-size", "80kB"), `the smallest schemes take .*; use (\S+) or more`, "--target-size"},
		{append(budget, "--target-size", "110"), `the smallest schemes take .*; did you mean (\S+)\?`, "--target-size"},
		{append(budget, "--target-bpw", "3"), `the smallest schemes take .*; use (\S+) or more`, "--target-bpw"},
		{append(budget, "--target-bpw", "3.5"), `the smallest schemes take .* or more with --schemes (\S+)`, "--schemes"},
		{append(calibrate, "--calib", all, "--calib-tokens", "10"), `fewer than one piece of 256; use --calib-tokens (\d+) or more`, "--calib-tokens"},
		{append(calibrate, "--calib", all, "--calib-tokens", "10"), `fewer than one piece of 256; .* or a smaller --calib-context, at most (\d+)`, "--calib-context"},
		{append(quantize, "--calib", all, "--calib-context", "2", "--calib-tokens", "64", "--schemes", "int8/g32", "--max-kl", "1"), `pieces of 3 tokens or more; use --calib-context (\d+) or more`, "--calib-context"},
		{append(calibrate, "--calib", all, "--calib-tokens", "1000", "--calib-context", "100"), `so rounding overfits the text; use --calib-tokens (\d+) or more`, "--calib-tokens"},
		{append(calibrate, "--calib", all, "--calib-tokens", "200", "--calib-context", "100"), `so the correction is omitted; use --calib-tokens (\d+) or more`, "--calib-tokens"},
		{append(calibrate, "--calib", all, "--calib-context", "257"), `use --calib-context (\d+) or less`, "--calib-context"},
		{[]string{"verify", tied, "--text", short, "--context", "200"}, `less than one chunk of 200: .* --context, at most (\d+)`, "--context"},
		{[]string{"verify", tied, "--text", all, "--context", "300"}, `use --context (\d+) or less`, "--context"},
		{[]string{"verify", tied, "--text", short, "--context", "30", "--chunks", "99"}, `use a longer text or --chunks (\d+)`, "--chunks"},
		{[]string{"export", "../../fixtures/mistral", "--to", "gguf", "--dry-run"}, `with --context (\d+) the file supports`, "--context"},
	} {
		message := regexp.MustCompile(c.message)
		args := slices.Clone(c.args)
		_, stdout, stderr := thimbleRun(args...)
		found := message.FindStringSubmatch(stdout + stderr)
		if found == nil {
			t.Errorf("thimble %q does not say %q:\n%s%s", args, c.message, stdout, stderr)
			continue
		}
		code, stdout, stderr := thimbleRun(with(args, c.flag, found[1])...)
		if code != exitDone || message.MatchString(stdout+stderr) {
			t.Errorf("thimble %q, as %q asks: exit status %d\n%s%s", args, found[0], code, stdout, stderr)
		}
	}
}

// with returns args with the value of a flag.
func with(args []string, flag, value string) []string {
	if i := slices.Index(args, flag); i >= 0 {
		args[i+1] = value
		return args
	}
	return append(args, flag, value)
}
