package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"thimble/verify"
	"thimble/verify/curve"
)

// curve and verify report the same figures.
func TestCurveIsVerified(t *testing.T) {
	const model = "../../fixtures/trained"
	dir := t.TempDir()
	out, rows := filepath.Join(dir, "out"), filepath.Join(dir, "rows")
	if err := os.WriteFile(rows, []byte("[{name: 4 bits, scheme: int4/g32, calib: false}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	measuring := []string{"--text", model + "/heldout.txt", "--context", "128", "--chunks", "2", "--json"}
	var c curve.Report
	if err := json.Unmarshal([]byte(mustRun(t, append(measuring, "curve", model, "--rows", rows, "-o", out, "--keep")...)), &c); err != nil {
		t.Fatal(err)
	}
	var r verify.Report
	file := filepath.Join(out, "4-bits.thimble")
	if err := json.Unmarshal([]byte(mustRun(t, append(measuring, "verify", file, "--against", model, "--gate", "kl<=1")...)), &r); err != nil {
		t.Fatal(err)
	}
	m := r.Metrics
	want := curve.PointOf(&m.Summary)
	if got := c.Rows[0]; got.Measured[0] != want || got.Bytes != r.Model.Bytes || got.SHA256 != r.Model.SHA256 || got.BitsPerWeight != r.Model.BitsPerWeight || c.Texts[0].PPL != m.PPLReference {
		t.Errorf("%+v, but thimble verify reports %+v", got, r)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("leftover files: %v, %v", left, err)
	}
}
