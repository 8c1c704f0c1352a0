package thimble

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"thimble/internal/atomicfile/faulty"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// tiny is a model of one block run twice, small enough to print.
func tiny() *Contents {
	c := &Contents{
		Spec: model.Spec{
			Hidden: 8, Heads: 2, KVHeads: 1, HeadDim: 4, FFN: 12, Vocab: 6, Context: 64, Blocks: 1,
			Schedule: []int{0, 0}, NormEps: 1e-5, Rope: model.Rope{Base: 10000}, Tied: true, BOS: -1, EOS: []int{5},
		},
		Provenance: model.Provenance{
			Architecture: "mobilellm", Overrides: []string{"layer_sharing=true"}, Recipe: "scheme: int4/g8\n", Tool: "thimble 0.1.0",
			Sources: []model.Source{{Name: "config.json", Bytes: 612, SHA256: digest("config.json")}},
		},
		Gates: []Gate{{Metric: "kl_mean", Op: "<=", Limit: 0.5, Value: 0.25, Against: digest("reference")}},
	}
	blob, err := (&tokenizer.Data{
		Model: tokenizer.ByteLevelBPE, Tokens: [][]byte{[]byte("a"), []byte("b"), []byte(" "), []byte("ab"), {0xff}, []byte("<end>")},
		Literal: []uint32{5}, Merges: []uint32{0, 1}, Steps: []tokenizer.Step{tokenizer.StepGPT2},
		Added: []tokenizer.Added{{ID: 5, Content: "<end>", Special: true}}, BOS: -1, EOS: 5, Pad: -1, Unk: -1,
	}).MarshalBinary()
	if err != nil {
		panic(err)
	}
	c.Tokenizer = blob
	schemes := map[string]string{
		"embed": "int8/row/sym", "blocks.0.q": "int4/g8/sym", "blocks.0.k": "int5/row/asym", "blocks.0.v": "f32",
		"blocks.0.gate": "int3/row/sym", "blocks.0.down": "int4/g8/asym", "norm": "f32", "blocks.0.attn_norm": "bf16",
	}
	for _, s := range c.Spec.Slots() {
		text, ok := schemes[s.Name]
		if !ok {
			text = "f16"
		}
		c.Tensors = append(c.Tensors, Entry{Name: s.Name, Scheme: scheme(text), Rows: s.Rows, Cols: s.Cols})
	}
	return c
}

func digest(text string) []byte {
	d := sha256.Sum256([]byte(text))
	return d[:]
}

func scheme(text string) qtensor.Scheme {
	s, err := qtensor.ParseScheme(text)
	if err != nil {
		panic(err)
	}
	return s
}

// fill returns a matrix for e. Row r has the codes 3r, 3(r+1), ... above the
// lowest, scales of 2^-r, negative in odd rows of a symmetric scheme, and minimums
// of -1.
func fill(e Entry) *qtensor.Matrix {
	m, err := qtensor.New(e.Scheme, e.Rows, e.Cols)
	if err != nil {
		panic(err)
	}
	codes, row := make([]uint8, e.Cols), make([]float32, e.Cols)
	groups := e.Scheme.Groups(e.Cols)
	scale, least := make([]uint16, groups), make([]uint16, groups)
	for r := range e.Rows {
		for i := range e.Cols {
			lo, hi := 0, 0
			if e.Scheme.Kind == qtensor.Int {
				lo, hi = e.Scheme.Codes()
			}
			codes[i] = uint8(lo + 3*(r+i)%(hi-lo+1))
			row[i] = float32(r+i) / 8
		}
		for g := range scale {
			d := 1 / float32(int(1)<<(r%8))
			if r%2 == 1 && !e.Scheme.Asym {
				d = -d
			}
			scale[g], _ = qtensor.ToFloat16(d)
			least[g], _ = qtensor.ToFloat16(-1)
		}
		if e.Scheme.Kind == qtensor.Int {
			m.SetRow(r, codes, scale, least)
		} else if err := m.SetFloats(r, row); err != nil {
			panic(err)
		}
	}
	return m
}

// write writes c with the tensors that of returns.
func write(path string, c *Contents, of func(Entry) *qtensor.Matrix, o Options) error {
	w, err := Create(path, c, o)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, e := range c.Tensors {
		if err := w.Write(of(e)); err != nil {
			return err
		}
	}
	return w.Close()
}

// valid returns the path and the bytes of a container of tiny.
func valid(t testing.TB) (path string, data []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "tiny.thimble")
	if err := write(path, tiny(), fill, Options{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "model.thimble")
		c := drawContents(t)
		var seed [32]byte
		seed[0] = rapid.Byte().Draw(t, "seed of the values")
		values := rand.NewChaCha8(seed)
		tensors := map[string]*qtensor.Matrix{}
		for _, e := range c.Tensors {
			m := fill(e)
			for _, plane := range m.Planes() {
				values.Read(plane)
			}
			if e.Coded {
				clearUnused(m)
			}
			tensors[e.Name] = m
		}
		of := func(e Entry) *qtensor.Matrix { return tensors[e.Name] }
		first := rewrite(t, path, c, of)
		if second := rewrite(t, path, c, of); second != first {
			t.Error("the same contents gave different bytes")
		}
		if err := Check(t.Context(), path, nil); err != nil {
			t.Error(err)
		}
		m, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		if err := m.Verify(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		got, err := Describe(m)
		if err != nil {
			t.Fatal(err)
		}
		c.Gates = nil // a model does not know them
		for i := range c.Tensors {
			c.Tensors[i].Coded = false // nor this
		}
		if d := cmp.Diff(c, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("contents (-written +read):\n%s", d)
		}
		if d := cmp.Diff(tensors, m.Tensors, cmp.Comparer(bytes.Equal)); d != "" {
			t.Errorf("tensors (-written +read):\n%s", d)
		}
	})
}

// clearUnused clears the unused bits of m, which a coded tensor does not keep.
func clearUnused(m *qtensor.Matrix) {
	for r := range m.Rows {
		codes, scales, mins := new(qtensor.Reader).Codes(m, r)
		m.SetRow(r, codes, scales, mins)
	}
}

// rewrite writes c over what is at path and returns the SHA-256 of the file.
func rewrite(t *rapid.T, path string, c *Contents, of func(Entry) *qtensor.Matrix) Digest {
	if err := write(path, c, of, Options{Overwrite: true, system: &faulty.System{}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// drawContents draws a small model in which any tensor may have any scheme.
func drawContents(t *rapid.T) *Contents {
	c := tiny()
	s := &c.Spec
	s.KVHeads = rapid.IntRange(1, 3).Draw(t, "kv heads")
	s.Heads = s.KVHeads * rapid.IntRange(1, 3).Draw(t, "queries per key")
	s.HeadDim = 2 * rapid.IntRange(1, 6).Draw(t, "half head")
	s.Hidden = rapid.IntRange(1, 80).Draw(t, "hidden")
	s.FFN = rapid.IntRange(1, 80).Draw(t, "ffn")
	s.Vocab = rapid.IntRange(6, 20).Draw(t, "vocab")
	s.Blocks = rapid.IntRange(1, 3).Draw(t, "blocks")
	s.Schedule = model.InOrder(s.Blocks, rapid.IntRange(1, 2).Draw(t, "runs"))
	s.Tied = rapid.Bool().Draw(t, "tied")
	s.Bias = model.Bias{QKV: rapid.Bool().Draw(t, "qkv bias"), O: rapid.Bool().Draw(t, "o bias"), FFN: rapid.Bool().Draw(t, "ffn bias")}
	c.Gates[0].Op = rapid.SampledFrom([]string{"", "<="}).Draw(t, "op")
	if rapid.Bool().Draw(t, "bare") {
		c.Tokenizer, c.Gates, s.EOS, c.Provenance = nil, nil, nil, model.Provenance{}
	}
	c.Tensors = nil
	for _, slot := range s.Slots() {
		kinds := []qtensor.Kind{qtensor.F32, qtensor.F16, qtensor.BF16}
		if slot.Role != model.Vector {
			kinds = append(kinds, qtensor.Int, qtensor.Int, qtensor.Int)
		}
		scheme := qtensor.Scheme{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		if scheme.Kind == qtensor.Int {
			scheme.Bits = rapid.IntRange(2, 8).Draw(t, "bits")
			scheme.Group = rapid.SampledFrom([]int{0, 8, 24, 32, 64, 128}).Draw(t, "group")
			scheme.Asym = rapid.Bool().Draw(t, "asym")
			scheme.Short = !scheme.Asym && scheme.Group > 0 && rapid.Bool().Draw(t, "short")
			scheme.Uneven = scheme.Bits == 4 && !scheme.Asym && !scheme.Short && rapid.Bool().Draw(t, "uneven")
		}
		coded := scheme.Kind == qtensor.Int && rapid.Bool().Draw(t, "coded")
		c.Tensors = append(c.Tensors, Entry{Name: slot.Name, Scheme: scheme, Rows: slot.Rows, Cols: slot.Cols, Coded: coded})
	}
	return c
}

// The same contents give these bytes on every machine.
func TestGolden(t *testing.T) {
	const want = "d29c23656f73c970a3d3f2e8060f5a8188e9be501d75f22fbd042e4fc8ae6efb"
	_, data := valid(t)
	if got := Digest(sha256.Sum256(data)).String(); got != want {
		t.Errorf("SHA-256 of the tiny container is %s, want %s", got, want)
	}
}

func TestModel(t *testing.T) {
	path, _ := valid(t)
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if m.Path != path || !cmp.Equal(m.Files, []string{path}) {
		t.Errorf("path %q, files %q", m.Path, m.Files)
	}
	d, err := m.Tokenizer()
	if err != nil || len(d.Tokens) != 6 {
		t.Errorf("tokenizer %v, %v", d, err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestInspect(t *testing.T) {
	path, data := valid(t)
	info, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	c := tiny()
	if d := cmp.Diff(c.Gates, info.Gates); d != "" {
		t.Error(d)
	}
	if !info.Spec.Equal(&c.Spec) || info.Bytes != int64(len(data)) || info.TokenizerBytes != int64(len(c.Tokenizer)) {
		t.Errorf("got %+v", info)
	}
	for i, e := range c.Tensors {
		m, got := fill(e), info.Tensors[i]
		hash := sha256.New()
		for _, p := range []struct {
			off   int64
			plane []byte
		}{{got.Codes, m.Codes}, {got.Scales, m.Scales}, {got.Mins, m.Mins}} {
			hash.Write(p.plane)
			switch {
			case len(p.plane) == 0:
				if p.off != -1 {
					t.Errorf("%s: absent plane at %d", e.Name, p.off)
				}
			case p.off%planeAlign != 0 || p.off < info.DataOffset || !bytes.HasPrefix(data[p.off:], p.plane):
				t.Errorf("%s: plane is not at %d", e.Name, p.off)
			}
		}
		if got.Name != e.Name || got.Scheme != e.Scheme.String() || got.Bytes != m.Bytes() || !bytes.Equal(got.SHA256[:], hash.Sum(nil)) {
			t.Errorf("got %+v for %+v", got, e)
		}
	}
}

// Opening a file far larger than memory reads only its header.
func TestOpenSparse(t *testing.T) {
	c := tiny()
	c.Spec = model.Spec{
		Hidden: 8192, Heads: 64, KVHeads: 8, HeadDim: 128, FFN: 28672, Vocab: 128256, Context: 8192, Blocks: 80,
		Schedule: model.InOrder(80, 1), NormEps: 1e-5, Rope: model.Rope{Base: 500000}, BOS: -1,
	}
	c.Tensors = nil
	for _, s := range c.Spec.Slots() {
		e := Entry{Name: s.Name, Scheme: scheme("int4/g32"), Rows: s.Rows, Cols: s.Cols}
		if s.Role == model.Vector {
			e.Scheme = scheme("f32")
		}
		c.Tensors = append(c.Tensors, e)
	}
	w := &Writer{contents: c}
	var err error
	if w.header, w.layout, err = c.describe(); err != nil {
		t.Fatal(err)
	}
	front, err := w.front()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sparse.thimble")
	if err := os.WriteFile(path, front, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, w.size); err != nil {
		t.Fatal(err)
	}
	if strconv.IntSize == 32 {
		if _, err := Open(path); err == nil {
			t.Errorf("%d bytes were mapped into 4 GiB", w.size)
		}
		return
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	m, err := Open(path)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d bytes, %d tensors: %d bytes allocated, %v", w.size, len(m.Tensors), allocated, took)
	if most := uint64(16 * len(front)); allocated > most {
		t.Errorf("opening allocated %d bytes, want at most %d for a header of %d", allocated, most, len(front))
	}
	if took > 5*time.Second {
		t.Errorf("opening took %v", took)
	}
}

// A file truncated after it was opened gives an error where it is used.
func TestTruncatedInUse(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let a mapped file be truncated")
	}
	path, _ := valid(t)
	c, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Close()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	w, err := Create(path+".copy", tiny(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	for name, use := range map[string]func() error{
		"Row": func() error {
			return parallel.Guard(func() error {
				new(qtensor.Reader).Row(make([]float32, 8), m.Tensors[model.Embed], 0)
				return nil
			})
		},
		"Tokenizer": func() error { _, err := m.Tokenizer(); return err },
		"Write":     func() error { return w.Write(m.Tensors[model.Embed]) },
		"Check":     func() error { return c.check(t.Context(), nil) },
	} {
		if err := use(); !errors.Is(err, parallel.ErrFault) {
			t.Errorf("%s: got %v, want ErrFault", name, err)
		}
	}
}
