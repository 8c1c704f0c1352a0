package standard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/verify"
)

// Each file that is not what its option wants is an error in one line that names the option.
func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	policy := file("policy.yaml", "gates: [kl<=0.1]\n")
	missing := filepath.Join(dir, "missing")
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Update: true}, "--update-baseline needs --baseline FILE"},
		{Options{Policy: policy, Gates: true}, "--gate and the gates of --policy"},
		{Options{Policy: file("bad.yaml", "gate: 1\n")}, "--policy " + filepath.Join(dir, "bad.yaml") + ": "},
		{Options{Baseline: missing}, "--update-baseline writes this run to it"},
		{Options{Baseline: policy}, "--baseline: "},
		{Options{Bench: policy}, "--bench: "},
	} {
		if _, err := Read(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
	s, err := Read(t.Context(), Options{Policy: policy, Baseline: missing, Update: true})
	if err != nil || !s.Policy.HasGates() || s.Before != nil || s.Files() != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

// A report that failed is not kept; one that passed is read again.
func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "baseline.json")
	s := &Standard{Options: Options{Baseline: path, Update: true}, Policy: new(verify.Policy)}
	for _, pass := range []bool{false, true} {
		r := &verify.Report{Pass: pass, Baseline: new(verify.Baseline)}
		if err := s.Keep(r, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); (err == nil) != pass || r.Baseline.Written != pass {
			t.Errorf("pass %t: %v, written %t", pass, err, r.Baseline.Written)
		}
	}
	if files := s.Files(); len(files) != 1 || files[0] != path {
		t.Errorf("files %v", files)
	}
}
