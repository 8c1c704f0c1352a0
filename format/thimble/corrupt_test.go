package thimble

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thimble/internal/atomicfile/faulty"
	"thimble/internal/defect"
	"thimble/internal/qtensor"
)

// check is Check for a file with these bytes.
func check(data []byte) error {
	c, err := parse("file", data)
	if err != nil {
		return err
	}
	return c.check(context.Background(), nil)
}

// knownError reports whether err is of one of the two kinds, in one line.
func knownError(err error) bool {
	var corrupt *defect.CorruptError
	return err != nil && !strings.Contains(err.Error(), "\n") && (errors.As(err, &corrupt) || errors.Is(err, defect.ErrUnsupported))
}

func TestTruncated(t *testing.T) {
	path, data := valid(t)
	for n := range data {
		if err := check(data[:n]); !knownError(err) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(data), err)
		} else if n < preambleLen && !strings.Contains(err.Error(), "preamble: is truncated, want 72 bytes") {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	for _, n := range []int64{0, 1, preambleLen - 1, preambleLen, int64(len(data)) - 1} {
		if err := os.Truncate(path, n); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !knownError(err) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTrailing(t *testing.T) {
	_, data := valid(t)
	for _, tail := range []string{"\x00", "x", strings.Repeat("\x00", planeAlign), string(data)} {
		if err := check(append(bytes.Clone(data), tail...)); !knownError(err) || !strings.Contains(err.Error(), "file length") {
			t.Errorf("%d trailing bytes: %v", len(tail), err)
		}
		// They do not pass either if the preamble counts them.
		long := append(bytes.Clone(data), tail...)
		binary.LittleEndian.PutUint64(long[32:], uint64(len(long)))
		if err := check(long); !knownError(err) || !strings.Contains(err.Error(), "tensors end at") {
			t.Errorf("%d trailing bytes, counted: %v", len(tail), err)
		}
	}
}

// Every single flipped bit is found. For a bit that parse reads, the file is parsed
// again. The sections of the parsed container divide the other bytes, and each
// section is verified again for each of its bits.
func TestFlippedBits(t *testing.T) {
	_, data := valid(t)
	c, err := parse("file", data)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(from, to int64, find func() error) {
		t.Helper()
		for i := from; i < to; i++ {
			for bit := range 8 {
				data[i] ^= 1 << bit
				if err := find(); !knownError(err) {
					t.Fatalf("byte %d, bit %d of %d bytes: %v", i, bit, len(data), err)
				}
				data[i] ^= 1 << bit
			}
		}
	}
	at := c.layout.header.end()
	flip(0, at, func() error { _, err := parse("file", data); return err })
	for _, quick := range []bool{false, true} {
		at := at
		for _, s := range c.sections(quick) {
			if s.from != at {
				t.Fatalf("%s begins at %d, want %d", s.name, s.from, at)
			}
			flip(s.from, s.to, func() error {
				fault, err := c.verify(s, quick, func(int64) error { return nil })
				return errors.Join(err, fault)
			})
			at = s.to
		}
		if at != int64(len(data)) {
			t.Fatalf("sections end at %d of %d", at, len(data))
		}
	}
	if err := check(data); err != nil {
		t.Fatal(err)
	}
}

// The error describes the first damaged part and names all others.
func TestCheckNames(t *testing.T) {
	path, data := valid(t)
	info, err := Inspect(path)
	if err != nil {
		t.Fatal(err)
	}
	q, norm := info.Tensors[2], info.Tensors[10]
	damage := func(offs ...int64) error {
		t.Helper()
		bad := bytes.Clone(data)
		for _, off := range offs {
			bad[off]++
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := Open(path); err != nil {
			t.Errorf("opening reads tensors: %v", err)
		} else {
			m.Close()
		}
		return Check(t.Context(), path, nil)
	}
	for _, c := range []struct {
		offs []int64
		want string
	}{
		{[]int64{q.Scales}, "blocks.0.q: is damaged"},
		{[]int64{q.Codes, norm.Codes}, "blocks.0.q: is damaged"},
		{[]int64{q.Codes, norm.Codes}, "; 1 more damaged: norm"},
		{[]int64{q.Codes + 47}, "blocks.0.q: the gap from here to byte"},
		{[]int64{info.Bytes - 1}, "norm: the gap"},
		{[]int64{info.DataOffset - 1}, "tokenizer: the gap"},
		{[]int64{align(preambleLen+info.HeaderBytes, planeAlign)}, "tokenizer: is damaged"},
	} {
		if err := damage(c.offs...); !knownError(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("bytes %d: got %v, want ... %s", c.offs, err, c.want)
		}
	}
	damage(align(preambleLen+info.HeaderBytes, planeAlign))
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 2 {
		if _, err := m.Tokenizer(); !knownError(err) || !strings.Contains(err.Error(), "tokenizer: is damaged") {
			t.Errorf("a damaged tokenizer gives %v", err)
		}
	}
}

// Check finds a tokenizer that is undamaged but does not decode.
func TestCheckTokenizer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	c := tiny()
	c.Tokenizer = []byte("not CBOR")
	if err := write(path, c, fill, Options{}); err != nil {
		t.Fatal(err)
	}
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	_, err = m.Tokenizer()
	for _, err := range []error{err, Check(t.Context(), path, nil)} {
		if !knownError(err) || !strings.HasPrefix(err.Error(), path+": tokenizer: ") {
			t.Errorf("got %v", err)
		}
	}
}

func TestCheckProgress(t *testing.T) {
	path, data := valid(t)
	last := int64(0)
	if err := Check(t.Context(), path, func(done, total int64) {
		if done < last || total != int64(len(data)) {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last = done
	}); err != nil || last != int64(len(data)) {
		t.Errorf("%v, read %d of %d", err, last, len(data))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Check(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

// FuzzOpen opens containers with any header and any change to the preamble. A file
// that opens is read to its bounds; one that Check accepts too must be exactly
// what the writer makes of its contents.
func FuzzOpen(f *testing.F) {
	_, data := valid(f)
	c, err := parse("file", data)
	if err != nil {
		f.Fatal(err)
	}
	tokenizer := c.layout.tokenizer.n
	raw := c.bytes(c.layout.header)
	f.Add(uint32(0), uint32(0), uint64(0), uint64(0), uint64(0), raw)
	f.Add(uint32(3), uint32(1), uint64(2), uint64(1<<14), uint64(64), raw)
	f.Add(uint32(0), uint32(0), uint64(0), uint64(0), uint64(0), raw[:len(raw)/2])
	f.Add(uint32(0), uint32(0), uint64(0), uint64(0), uint64(0), []byte{0xa0})
	path := filepath.Join(f.TempDir(), "again.thimble")
	f.Fuzz(func(t *testing.T, version, length uint32, features, begin, size uint64, header []byte) {
		file := forge(data, header, tokenizer)
		for off, x := range map[int]uint32{8: version, 12: length} {
			binary.LittleEndian.PutUint32(file[off:], binary.LittleEndian.Uint32(file[off:])^x)
		}
		for off, x := range map[int]uint64{16: features, 24: begin, 32: size} {
			binary.LittleEndian.PutUint64(file[off:], binary.LittleEndian.Uint64(file[off:])^x)
		}
		c, err := parse("file", file)
		if err != nil {
			if !knownError(err) {
				t.Errorf("neither kind of error: %v", err)
			}
			return
		}
		m := c.model()
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		for _, x := range m.Tensors {
			new(qtensor.Reader).Row(make([]float32, x.Cols), x, x.Rows-1)
		}
		if err := c.check(t.Context(), nil); err != nil {
			return
		}
		contents := *c.contents
		contents.Tokenizer = c.bytes(c.layout.tokenizer)
		of := func(e Entry) *qtensor.Matrix { return m.Tensors[e.Name] }
		if err := write(path, &contents, of, Options{Overwrite: true, system: &faulty.System{}}); err != nil {
			t.Fatal(err)
		}
		if again, err := os.ReadFile(path); err != nil || !bytes.Equal(again, file) {
			t.Errorf("written again, a valid container differs: %v", err)
		}
	})
}

// A container that opens although a bit is flipped has all tensors as they were, except the one that
// holds the bit. The program fixtures/torture tries every bit.
func TestDamageIsLocal(t *testing.T) {
	path, data := valid(t)
	c, err := parse("file", bytes.Clone(data))
	if err != nil {
		t.Fatal(err)
	}
	whole := c.model().Tensors
	opened := 0
	for at := 0; at < 8*len(data); at += 307 {
		bad := bytes.Clone(data)
		bad[at/8] ^= 1 << (at % 8)
		c, err := parse(path, bad)
		if err != nil {
			continue
		}
		opened++
		for i, p := range c.planes {
			name := c.contents.Tensors[i].Name
			x, y := c.model().Tensors[name], whole[name]
			same := bytes.Equal(x.Codes, y.Codes) && bytes.Equal(x.Scales, y.Scales) && bytes.Equal(x.Mins, y.Mins)
			holds := slices.ContainsFunc(p[:], func(e extent) bool { return int64(at/8) >= e.off && int64(at/8) < e.end() })
			if same == holds {
				t.Fatalf("bit %d: %s, which holds it: %v, is the same: %v", at, name, holds, same)
			}
		}
	}
	if opened < 20 {
		t.Errorf("only %d opened", opened)
	}
}
