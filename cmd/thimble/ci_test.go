package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"thimble/internal/strictyaml"
	"thimble/verify"
)

// A reference that the script of docs/NUMERICS.md wrote with transformers has the ids
// that verify computes for the same text, and bounds the divergence that full logits
// give.
func TestCompactScript(t *testing.T) {
	script, err := os.ReadFile("../../docs/compact_reference.py")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(script, []byte("\n")); n > 30 {
		t.Errorf("the script has %d lines", n)
	}
	source, dir := "../../fixtures/llama3-rope", t.TempDir()
	q, full := filepath.Join(dir, "q"), filepath.Join(dir, "full.safetensors")
	mustRun(t, "quantize", source, "-o", q, "--scheme", "int6/g32")
	mustRun(t, "logits", source, "-o", full, "--text", "../../fixtures/trained/heldout.txt", "--context", "32", "--chunks", "3")
	report := func(model, reference string) *verify.Report {
		r := new(verify.Report)
		if err := json.Unmarshal([]byte(mustRun(t, "verify", model, "--reference", reference, "--gate", "tokens>=96", "--json")), r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	compact := "../../fixtures/compact/llama3-rope.safetensors"
	less, all := report(q, compact), report(q, full)
	if less.PromptsSHA256 != all.PromptsSHA256 {
		t.Error("the ids of the prompts differ")
	}
	low, high, kl := less.Metrics.KLMean, less.Metrics.KLMean+less.Metrics.KLHidden, all.Metrics.KLMean
	if !(low > 0 && low <= kl+1e-6 && kl <= high+1e-6) || less.Metrics.Top1Agreement != all.Metrics.Top1Agreement {
		t.Errorf("%v is not between %v and %v, or top-1 agreement differs: %v, %v", kl, low, high, less.Metrics.Top1Agreement, all.Metrics.Top1Agreement)
	}
	t.Logf("kl_mean %v, between %v and %v", kl, low, high)
	if own := report(source, compact); !(own.Metrics.KLMean < 1e-9) || own.Metrics.Top1Agreement != 1 {
		t.Errorf("the source compared with itself: %v, %v", own.Metrics.KLMean, own.Metrics.Top1Agreement)
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
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != want || stderr != "" {
			t.Fatalf("%s: exit %d, %v %s", scheme, code, err, stderr)
		}
		if kl := r.Baseline.Figures[0]; kl.Name != "kl_mean" || (kl.Outcome == "worse") != (want == exitRefused) {
			t.Errorf("%s: %+v", scheme, kl)
		}
	}
}
