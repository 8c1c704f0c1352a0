package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/strictyaml"
	"thimble/verify"
	"thimble/verify/reference"
)

// reportOf runs verify with these arguments and returns its report.
func reportOf(t *testing.T, args ...string) *verify.Report {
	t.Helper()
	r := new(verify.Report)
	if err := json.Unmarshal([]byte(mustRun(t, append([]string{"verify", "--gate", "tokens>=1", "--json"}, args...)...)), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The script of docs/NUMERICS.md writes every tensor that a compact reference has. One
// that an older version of it wrote with transformers, of all positions and without a
// tail, still bounds the divergence that full logits give.
func TestCompactScript(t *testing.T) {
	script, err := os.ReadFile("../../docs/compact_reference.py")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(script, []byte("\n")); n > 40 {
		t.Errorf("the script has %d lines", n)
	}
	source, dir := "../../fixtures/llama3-rope", t.TempDir()
	own := filepath.Join(dir, "own.safetensors")
	mustRun(t, "logits", source, "-o", own, "--text", "../../fixtures/trained/heldout.txt", "--context", "32", "--chunks", "3", "--top-k", "16")
	file, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`"prompt\.0\.([a-z_]+)"`).FindAllSubmatch(file, -1)
	if len(kinds) != 10 {
		t.Errorf("a compact reference has %d tensors for each prompt", len(kinds))
	}
	for _, kind := range kinds {
		if !bytes.Contains(script, append(append([]byte{'"'}, kind[1]...), `":`...)) {
			t.Errorf("the script writes no %s", kind[1])
		}
	}

	q, full := filepath.Join(dir, "q"), filepath.Join(dir, "full.safetensors")
	mustRun(t, "quantize", source, "-o", q, "--scheme", "int6/g32")
	compact := "../../fixtures/compact/llama3-rope.safetensors"
	writeFull(t, source, compact, full)
	less, all := reportOf(t, q, "--reference", compact), reportOf(t, q, "--reference", full)
	if less.PromptsSHA256 != all.PromptsSHA256 || less.Metrics.Tokens != 96 {
		t.Error("the ids of the prompts differ")
	}
	low, high, kl := less.Metrics.KLMean, less.Metrics.KLMean+less.Metrics.KLHidden, all.Metrics.KLMean
	if !(low > 0 && low <= kl+1e-6 && kl <= high+1e-6) || less.Metrics.Top1Agreement != all.Metrics.Top1Agreement {
		t.Errorf("%v is not between %v and %v, or top-1 agreement differs: %v, %v", kl, low, high, less.Metrics.Top1Agreement, all.Metrics.Top1Agreement)
	}
	t.Logf("kl_mean %v, between %v and %v", kl, low, high)
	if itself := reportOf(t, source, "--reference", compact); !(itself.Metrics.KLMean < 1e-9) || itself.Metrics.Top1Agreement != 1 {
		t.Errorf("the source compared with itself: %v, %v", itself.Metrics.KLMean, itself.Metrics.Top1Agreement)
	}
}

// writeFull writes the full logits of the model at source for the prompts of another
// reference.
func writeFull(t *testing.T, source, prompts, out string) {
	t.Helper()
	f, err := reference.Open(prompts)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := convert.Open(source, convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := reference.NewScorer(m, reference.Arithmetic{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := reference.Write(t.Context(), out, s, f.Prompts(), reference.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// A reference file, full or compact, scores the positions that --against scores. The
// full one gives the same divergence, and the bounds of the compact one contain it.
func TestReferencePositions(t *testing.T) {
	source, dir := "../../fixtures/trained", t.TempDir()
	text := []string{"--text", "../../fixtures/trained/heldout.txt", "--context", "64", "--chunks", "8"}
	full, compact := filepath.Join(dir, "full.safetensors"), filepath.Join(dir, "compact.safetensors")
	mustRun(t, append([]string{"logits", source, "-o", full}, text...)...)
	mustRun(t, append([]string{"logits", source, "-o", compact, "--top-k", "8"}, text...)...)
	for _, scheme := range []string{"int8/g32", "int4/row", "int2/g32"} {
		q := filepath.Join(dir, strings.ReplaceAll(scheme, "/", "-"))
		mustRun(t, "quantize", source, "-o", q, "--scheme", scheme)
		exact := reportOf(t, append([]string{q, "--against", source, "--gate", "kl<=9"}, text...)...)
		all, some := reportOf(t, q, "--reference", full, "--gate", "kl<=9"), reportOf(t, q, "--reference", compact, "--gate", "kl<=9")
		kl, bound := exact.Metrics.KLMean, some.Bound("kl_mean")
		t.Logf("%s: %.5f is %.5f, from %.5f to %.5f", scheme, kl, some.Metrics.KLMean, bound.Low, bound.High)
		for _, r := range []*verify.Report{all, some} {
			if r.Metrics.Tokens != 8*31 || r.PromptsSHA256 != exact.PromptsSHA256 || r.Metrics.Top1Agreement != exact.Metrics.Top1Agreement || math.Abs(float64(r.Metrics.PPLRatio-exact.Metrics.PPLRatio)) > 1e-5 {
				t.Errorf("%s: %d positions of %d, perplexity ratios %v and %v", scheme, r.Metrics.Tokens, exact.Metrics.Tokens, r.Metrics.PPLRatio, exact.Metrics.PPLRatio)
			}
		}
		if all.Metrics.KLMean != kl || all.Bounds != nil {
			t.Errorf("%s: kl_mean is %v against the file, %v against the model", scheme, all.Metrics.KLMean, kl)
		}
		if bound.Low > kl+1e-7 || bound.High < kl-1e-7 || bound.High-bound.Low > 0.05*kl+0.02 || some.Metrics.KLMean < bound.Low || some.Metrics.KLMean > bound.High {
			t.Errorf("%s: kl_mean is %v, estimated as %v, within %v", scheme, kl, some.Metrics.KLMean, bound)
		}
	}
}

// The workflows and policies of docs/CI.md are valid YAML, and their commands use
// existing flags.
func TestCIDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CI.md")
	if err != nil {
		t.Fatal(err)
	}
	policies, workflows := 0, 0
	for _, m := range regexp.MustCompile("(?ms)^```yaml\n(.*?)^```").FindAllSubmatch(doc, -1) {
		text := m[1]
		if bytes.Contains(text, []byte("gates:")) {
			policies++
			if _, err := verify.ParsePolicy(text); err != nil {
				t.Errorf("%v in\n%s", err, text)
			}
			continue
		}
		workflows++
		var anything map[string]any
		if err := strictyaml.Decode(text, &anything); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
		if anything["jobs"] == nil && anything["verify"] == nil {
			t.Errorf("not a workflow: %s", text)
		}
	}
	if policies < 1 || workflows != 3 {
		t.Errorf("%d policies, %d workflows", policies, workflows)
	}
	app := newApp(nil, nil)
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(doc), "")
	commands := regexp.MustCompile("(?m)^[ -]*thimble ([a-z]+) (.*)$").FindAllStringSubmatch(joined, -1)
	for _, c := range commands {
		cmd := app.Command(c[1])
		if cmd == nil {
			t.Errorf("there is no command %s", c[1])
			continue
		}
		known := map[string]bool{}
		for _, f := range cmd.Flags {
			for _, n := range f.Names() {
				known[n] = true
			}
		}
		for _, f := range regexp.MustCompile(` --?([a-z][a-z0-9-]*)`).FindAllStringSubmatch(" "+c[2], -1) {
			if !known[f[1]] {
				t.Errorf("thimble %s has no --%s", c[1], f[1])
			}
		}
	}
	if len(commands) < 6 {
		t.Errorf("%d commands", len(commands))
	}
}

// The project's own gate: the model that .ci/run makes passes the policy and the
// baseline of .ci, and a coarser model does not.
func TestOwnGate(t *testing.T) {
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".ci/policy.yaml", ".ci/baseline.json"} {
		if !strings.Contains(string(script), name) {
			t.Errorf(".ci/run does not use %s", name)
		}
	}
	t.Chdir("../..")
	dir := t.TempDir()
	for scheme, want := range map[string]int{"int4/g32": exitDone, "int3/g32": exitRefused} {
		q := filepath.Join(dir, strings.ReplaceAll(scheme, "/", "-"))
		mustRun(t, "quantize", "fixtures/trained", "-o", q, "--scheme", scheme, "--embedding", "int8/g32")
		code, out, stderr := thimbleRun("verify", q, "--against", "fixtures/trained", "--text", "fixtures/trained/heldout.txt", "--context", "64", "--chunks", "16",
			"--policy", ".ci/policy.yaml", "--baseline", ".ci/baseline.json", "--json")
		var r verify.Report
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != want || strings.HasPrefix(stderr, "FAIL") != (want == exitRefused) {
			t.Fatalf("%s: exit %d, %v %s", scheme, code, err, stderr)
		}
		if kl := r.Baseline.Figures[0]; kl.Name != "kl_mean" || (kl.Outcome == "worse") != (want == exitRefused) {
			t.Errorf("%s: %+v", scheme, kl)
		}
	}
}
