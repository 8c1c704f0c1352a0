// Package oracle compares internal/checkpoint with another reader of PyTorch files,
// github.com/nlpodyssey/gopickle. If both read a file, they must read the same values.
// gopickle copies every tensor to memory, and hangs or panics on some damaged files, so
// it runs in a separate process and only in this test.
package oracle

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nlpodyssey/gopickle/pytorch"
	"github.com/nlpodyssey/gopickle/types"

	"thimble/internal/checkpoint"
)

// An array is a tensor from either reader.
type array struct {
	Shape  []int
	Values []float64 // row-major
	Half   bool      // whether the file has them as float16
}

const fileVariable = "ORACLE_FILE"

func TestMain(m *testing.M) {
	path := os.Getenv(fileVariable)
	if path == "" {
		os.Exit(m.Run())
	}
	arrays, err := load(path)
	if err == nil {
		err = gob.NewEncoder(os.Stdout).Encode(arrays)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// load reads a file with gopickle.
func load(path string) (arrays map[string]array, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	v, err := pytorch.Load(path)
	if err != nil {
		return nil, err
	}
	arrays = map[string]array{}
	each(v, func(key, value any) {
		name, _ := key.(string)
		if t, ok := value.(*pytorch.Tensor); ok {
			arrays[name] = arrayOf(t)
		}
	})
	return arrays, nil
}

// each calls f for the entries of a dict or an OrderedDict, or of the one under "model".
// It removes the prefix "module." from names.
func each(v any, f func(key, value any)) {
	entries := map[any]any{}
	switch d := v.(type) {
	case *types.Dict:
		for _, e := range *d {
			entries[e.Key] = e.Value
		}
	case *types.OrderedDict:
		for _, e := range d.Map {
			entries[e.Key] = e.Value
		}
	}
	if inner := entries["model"]; inner != nil {
		each(inner, f)
		return
	}
	for key, value := range entries {
		if name, ok := key.(string); ok {
			key = strings.TrimPrefix(name, "module.")
		}
		f(key, value)
	}
}

func arrayOf(t *pytorch.Tensor) array {
	a := array{Shape: append([]int{}, t.Size...)}
	at := func(i int) float64 { return math.NaN() }
	switch s := t.Source.(type) {
	case *pytorch.FloatStorage:
		at = func(i int) float64 { return float64(s.Data[i]) }
	case *pytorch.HalfStorage:
		at = func(i int) float64 { return float64(s.Data[i]) }
	case *pytorch.BFloat16Storage:
		at = func(i int) float64 { return float64(s.Data[i]) }
	case *pytorch.DoubleStorage:
		at = func(i int) float64 { return s.Data[i] }
	case *pytorch.LongStorage:
		at = func(i int) float64 { return float64(s.Data[i]) }
	default:
		return a
	}
	var walk func(dim, offset int)
	walk = func(dim, offset int) {
		if dim == len(t.Size) {
			a.Values = append(a.Values, at(offset))
			return
		}
		for i := range t.Size[dim] {
			walk(dim+1, offset+i*t.Stride[dim])
		}
	}
	walk(0, t.StorageOffset)
	return a
}

// theirs runs load in a separate process.
func theirs(path string) (map[string]array, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append(os.Environ(), fileVariable+"="+path, "GOMEMLIMIT=1GiB")
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("%v: %.200s", err, stderr.String())
	}
	var arrays map[string]array
	return arrays, gob.NewDecoder(&stdout).Decode(&arrays)
}

// ours reads a file with internal/checkpoint.
func ours(path string) (map[string]array, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Verify(t.Context()); err != nil {
		return nil, err
	}
	arrays := map[string]array{}
	for name, t := range c.Tensors {
		a := array{Shape: append([]int{}, t.Shape...), Half: t.DType == checkpoint.F16}
		if value, size := valueOf(t.DType); value != nil {
			row := make([]byte, t.RowBytes())
			for r := range t.Rows() {
				for b := t.Row(row, r); len(b) > 0; b = b[size:] {
					a.Values = append(a.Values, value(b))
				}
			}
		}
		arrays[name] = a
	}
	return arrays, nil
}

func valueOf(d checkpoint.DType) (value func(b []byte) float64, size int) {
	u := binary.LittleEndian
	switch d {
	case checkpoint.F32:
		return func(b []byte) float64 { return float64(math.Float32frombits(u.Uint32(b))) }, 4
	case checkpoint.F64:
		return func(b []byte) float64 { return math.Float64frombits(u.Uint64(b)) }, 8
	case checkpoint.BF16:
		return func(b []byte) float64 { return float64(math.Float32frombits(uint32(u.Uint16(b)) << 16)) }, 2
	case checkpoint.F16:
		return func(b []byte) float64 { return half(u.Uint16(b)) }, 2
	case checkpoint.I64:
		return func(b []byte) float64 { return float64(int64(u.Uint64(b))) }, 8
	}
	return nil, 0
}

func half(b uint16) float64 {
	exponent, fraction := int(b>>10&31), float64(b&1023)
	x := math.Ldexp(fraction, -24)
	switch {
	case exponent == 31 && fraction != 0:
		x = math.NaN()
	case exponent == 31:
		x = math.Inf(1)
	case exponent > 0:
		x = math.Ldexp(1024+fraction, exponent-25)
	}
	if b>>15 == 1 {
		x = -x
	}
	return x
}

// compare checks that our tensors a equal gopickle's tensors b. It returns the number of
// values that it compared.
func compare(t *testing.T, what string, a, b map[string]array) (values int) {
	t.Helper()
	for name, x := range a {
		y, ok := b[name]
		if !ok || !slices.Equal(x.Shape, y.Shape) {
			t.Errorf("%s: %s is %v, gopickle has %v", what, name, x.Shape, y.Shape)
			continue
		}
		if len(y.Values) == 0 {
			continue
		}
		same := func(p, q float64) bool {
			// gopickle 0.2.0 converts subnormal float16 wrongly: 358/2^24 becomes 1382/2^24.
			subnormal := x.Half && p != 0 && math.Abs(p) < 0x1p-14
			return p == q || p != p && q != q || subnormal
		}
		if !slices.EqualFunc(x.Values, y.Values, same) {
			at := 0
			for same(x.Values[at], y.Values[at]) {
				at++
			}
			t.Errorf("%s: %s: value %d is %v, gopickle has %v", what, name, at, x.Values[at], y.Values[at])
		}
		values += len(y.Values)
	}
	return values
}

const fixtures = "../../../fixtures"

func files(t *testing.T) []string {
	var all []string
	for _, pattern := range []string{"torch/*.bin", "torch/*.pt", "torch/sharded/*.bin", "layouts/small/*.bin", "layouts/small/*.pth", "layouts/meta*/*.pth"} {
		found, err := filepath.Glob(filepath.Join(fixtures, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		all = append(all, found...)
	}
	return all
}

func TestSame(t *testing.T) {
	read := 0
	for _, path := range files(t) {
		a, err := ours(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		b, err := theirs(path)
		if err != nil {
			t.Logf("%s: gopickle: %v", path, err)
			continue
		}
		if compare(t, path, a, b) == 0 {
			t.Errorf("%s: no values were compared", path)
		}
		read++
	}
	if read < 12 {
		t.Errorf("gopickle read only %d files, want at least 12", read)
	}
}

// After a bit of the file is flipped, both readers still read the same or one rejects it.
func TestMutated(t *testing.T) {
	both, rejected := 0, 0
	for _, name := range []string{"legacy.bin", "zip.bin", "nested.bin", "shared.bin"} {
		f, err := os.Open(filepath.Join(fixtures, "layouts/small", name))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := io.ReadAll(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(1, uint64(len(whole))))
		for range 60 {
			b := slices.Clone(whole)
			at := random.IntN(min(len(b), 3000)) // mostly the pickle
			b[at] ^= 1 << random.IntN(8)
			path := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			mine, err := ours(path)
			if err != nil {
				rejected++
				continue
			}
			their, err := theirs(path)
			if err != nil {
				continue
			}
			both++
			compare(t, fmt.Sprintf("%s, byte %d", name, at), mine, their)
		}
	}
	t.Logf("we rejected %d files, both read %d", rejected, both)
	if both == 0 || rejected == 0 {
		t.Error("the mutations test nothing: want some files rejected and some read by both")
	}
}
