package thimble

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// goldenWithoutOp is the SHA-256 of the container of tiny that programs wrote
// before Gate.Op and the CRCs of tensors existed.
const goldenWithoutOp = "1959cac1cfbcdd080ff9a3bda31581aaddb69243972af1a76f7f5df81067f685"

// A file from before Gate.Op and CRCs existed opens and tells the direction of its gate, and a
// scan compares its digests.
func TestGateWithoutOp(t *testing.T) {
	const path = "testdata/gate-without-op.thimble"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := Digest(sha256.Sum256(data)).String(); got != goldenWithoutOp {
		t.Fatalf("SHA-256 of %s is %s, want %s", path, got, goldenWithoutOp)
	}
	if err := Check(t.Context(), path, nil); err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	if g := info.Gates[0]; g.Op != "" || g.Direction() != "<=" {
		t.Errorf("the gate is %+v, direction %q", g, g.Direction())
	}
	data[len(data)-planeAlign]++ // the first byte of the last tensor
	damaged := filepath.Join(t.TempDir(), "damaged.thimble")
	if err := os.WriteFile(damaged, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := Open(damaged)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.Ready(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "norm: is damaged: its SHA-256") {
		t.Errorf("a flipped byte: got %v", err)
	}
}

// Gates of both directions come back as they were written.
func TestGates(t *testing.T) {
	c := tiny()
	c.Gates = append(c.Gates,
		Gate{Metric: "top1_agreement", Op: ">=", Limit: 0.9, Value: 0.95, Against: digest("reference")},
		Gate{Metric: "acc", Op: ">=", Limit: 1, Value: 1, Against: digest("reference")},
		Gate{Metric: "ppl", Limit: 10, Value: 9, Against: digest("reference")})
	path := filepath.Join(t.TempDir(), "gates.thimble")
	if err := write(path, c, fill, Options{}); err != nil {
		t.Fatal(err)
	}
	info, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c.Gates, info.Gates); d != "" {
		t.Errorf("gates (-written +read):\n%s", d)
	}
}

func TestDirection(t *testing.T) {
	for _, c := range []struct {
		gate Gate
		want string
	}{
		{Gate{Op: ">=", Limit: 0.9, Value: 0.9}, ">="},
		{Gate{Limit: 0.9, Value: 0.95}, ">="},
		{Gate{Limit: 0.03, Value: 0.01}, "<="},
		{Gate{Limit: 0.03, Value: 0.03}, ""},
	} {
		if got := c.gate.Direction(); got != c.want {
			t.Errorf("direction of %+v is %q, want %q", c.gate, got, c.want)
		}
	}
}
