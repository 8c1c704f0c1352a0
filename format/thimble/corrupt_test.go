package thimble

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/atomicfile/faulty"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// check is Check of a file that holds data.
func check(data []byte) error {
	c, err := parse("file", data)
	if err != nil {
		return err
	}
	return c.check(context.Background(), nil)
}

// knownError reports whether err is of one of the two kinds, in one line.
func knownError(err error) bool {
	var corrupt *model.CorruptError
	return err != nil && !strings.Contains(err.Error(), "\n") && (errors.As(err, &corrupt) || errors.Is(err, model.ErrUnsupported))
}

func TestTruncated(t *testing.T) {
	path, data := valid(t)
	for n := range data {
		if err := check(data[:n]); !knownError(err) {
			t.Fatalf("the first %d of %d bytes: %v", n, len(data), err)
		} else if n < preambleLen && !strings.Contains(err.Error(), "preamble: the file ends in it, want 72 bytes") {
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
		// Nor do they pass when the preamble counts them.
		long := append(bytes.Clone(data), tail...)
		binary.LittleEndian.PutUint64(long[32:], uint64(len(long)))
		if err := check(long); !knownError(err) || !strings.Contains(err.Error(), "tensors end at") {
			t.Errorf("%d trailing bytes, counted: %v", len(tail), err)
		}
	}
}

// Every single flipped bit is found. What parse reads is parsed anew for each
// bit; the sections of the parsed container divide the rest, and each is
// verified over each of its flipped bits.
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
	for _, s := range c.sections() {
		if s.from != at {
			t.Fatalf("%s begins at %d, want %d", s.name, s.from, at)
		}
		flip(s.from, s.to, func() error {
			fault, err := c.verify(s, func(int64) error { return nil })
			return errors.Join(err, fault)
		})
		at = s.to
	}
	if at != int64(len(data)) {
		t.Fatalf("sections end at %d of %d", at, len(data))
	}
	if err := check(data); err != nil {
		t.Fatal(err)
	}
}

// What is damaged is named: the first part in full, the others too.
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
		{[]int64{q.Codes, norm.Codes}, "; 1 more parts are damaged: norm"},
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

// A tokenizer that is as it was written but means nothing is found by Check.
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

// forge returns data with another header, all lengths and digests made right.
// tokenizer is the length that the header claims for it.
func forge(data, header []byte, tokenizer int64) []byte {
	c, err := parse("file", data)
	if err != nil {
		panic(err)
	}
	tensors, old := bytes.Clone(data[c.data:]), c.preamble
	front := align(preambleLen+int64(len(header)), planeAlign)
	begin := align(front+min(max(tokenizer, 0), maxTokenizer), pageAlign)
	p := old
	p.Header, p.SHA256 = uint32(len(header)), sha256.Sum256(header)
	p.Data, p.File = uint64(begin), uint64(begin)+uint64(len(tensors))
	out := make([]byte, begin, p.File)
	if _, err := binary.Encode(out, binary.LittleEndian, &p); err != nil {
		panic(err)
	}
	copy(out[preambleLen:], header)
	copy(out[front:], c.bytes(c.layout.tokenizer))
	return append(out, tensors...)
}

// TestHostileHeader edits the header as a map, so that any fault can be made.
func TestHostileHeader(t *testing.T) {
	_, data := valid(t)
	type object = map[string]any
	tensor := func(h object, i int) object { return h["tensors"].([]any)[i].(object) }
	under := func(h object, key string) object { return h[key].(object) }
	for want, edit := range map[string]func(h object){
		"":                                    func(h object) {},
		"0 from the first tensor":             func(h object) { tensor(h, 1)["codes"] = 0 },
		"want 0, 64, 0":                       func(h object) { tensor(h, 0)["scales"] = int64(1 << 62) },
		"want 0, 64, 0 ":                      func(h object) { delete(tensor(h, 0), "scales") },
		"codes, scales and mins":              func(h object) { tensor(h, 0)["mins"] = 64 },
		"blocks.0.attn_norm":                  func(h object) { tensor(h, 1)["codes"] = -64 },
		"is tensor 1, want":                   func(h object) { ts := h["tensors"].([]any); ts[1], ts[2] = ts[2], ts[1] },
		"tensor is missing":                   func(h object) { h["tensors"] = h["tensors"].([]any)[:3] },
		"no place for this tensor":            func(h object) { h["tensors"] = append(h["tensors"].([]any), tensor(h, 0)) },
		"header: is not in deterministic":     func(h object) { delete(h, "gates") },
		"header: is not in deterministic ":    func(h object) { h["gates"] = nil },
		"header: is not in deterministic  ":   func(h object) { tensor(h, 1)["mins"] = 0 },
		"header: is not in deterministic   ":  func(h object) { tensor(h, 1)["sha256"] = []byte("short") },
		"header: is not in deterministic    ": func(h object) { under(h, "spec")["normeps"] = 0 },
		"unknown field":                       func(h object) { h["extra"] = 1 },
		"unknown field ":                      func(h object) { tensor(h, 0)["Name"] = "embed" },
		"cannot unmarshal":                    func(h object) { h["tensors"] = "none" },
		"cannot unmarshal ":                   func(h object) { tensor(h, 0)["rows"] = 1.5 },
		"cannot unmarshal  ":                  func(h object) { tensor(h, 0)["rows"] = uint64(math.MaxUint64) },
		"shape is (2147483647, 8)":            func(h object) { tensor(h, 0)["rows"] = math.MaxInt32 },
		"shape is (-6, 8)":                    func(h object) { tensor(h, 0)["rows"] = -6 },
		"the header's tensors end at": func(h object) { // larger than the file
			under(h, "spec")["vocab"], tensor(h, 0)["rows"] = model.MaxVocab, model.MaxVocab
			for i := range 11 {
				for _, plane := range []string{"codes", "scales", "mins"} {
					if off, ok := tensor(h, i)[plane].(uint64); ok && off > 0 {
						// What lies after the embedding moves by its growth: 8 bytes of
						// codes and, from the second tensor on, 2 of scales a row.
						grown := uint64(model.MaxVocab)*8 - 64
						if i > 0 {
							grown += uint64(model.MaxVocab)*2 - 64
						}
						tensor(h, i)[plane] = off + grown
					}
				}
			}
		},
		"scheme \"int4\"":          func(h object) { tensor(h, 0)["scheme"] = "int4" },
		"is spelled \"int8/row\"":  func(h object) { tensor(h, 0)["scheme"] = "int8/row" },
		"scheme has 4000 bytes":    func(h object) { tensor(h, 0)["scheme"] = strings.Repeat("\n", 4000) },
		"9 bits, want 2 to 8":      func(h object) { tensor(h, 0)["scheme"] = "int9/row/sym" },
		"a vector is stored":       func(h object) { tensor(h, 1)["scheme"] = "int8/row/sym" },
		"spec: heads is 0":         func(h object) { under(h, "spec")["heads"] = 0 },
		"spec: blocks is":          func(h object) { under(h, "spec")["blocks"] = math.MaxInt32 },
		"schedule runs 1 of":       func(h object) { under(h, "spec")["blocks"] = 1000 },
		"scaling \"yarn\"":         func(h object) { under(under(h, "spec"), "rope")["scaling"] = "yarn" },
		"tokenizer.bytes: is -1":   func(h object) { under(h, "tokenizer")["bytes"] = -1 },
		"want 0 to 134217728":      func(h object) { under(h, "tokenizer")["bytes"] = int64(math.MaxInt64) },
		"zeros":                    func(h object) { under(h, "tokenizer")["bytes"] = 0 },
		"tokenizer: is damaged":    func(h object) { under(h, "tokenizer")["sha256"] = make([]byte, 32) },
		"embed: is damaged":        func(h object) { tensor(h, 0)["sha256"] = make([]byte, 32) },
		"has -612 bytes":           func(h object) { under(h, "provenance")["sources"].([]any)[0].(object)["bytes"] = -612 },
		"is not the base name":     func(h object) { under(h, "provenance")["sources"].([]any)[0].(object)["name"] = "../x" },
		"exceeded max nested":      func(h object) { under(h, "provenance")["recipe"] = []any{[]any{[]any{[]any{}}}} },
		"exceeded max number of e": func(h object) { under(h, "spec")["schedule"] = make([]int, 1<<15+1) },
		"steps is 32768":           func(h object) { under(h, "spec")["schedule"] = make([]int, 1<<15) },
	} {
		var h object
		mode := must(cbor.DecOptions{DefaultMapType: reflect.TypeFor[object]()}.DecMode())
		c, err := parse("file", data)
		if err != nil {
			t.Fatal(err)
		}
		if err := mode.Unmarshal(c.bytes(c.layout.header), &h); err != nil {
			t.Fatal(err)
		}
		edit(h)
		raw, err := encoding.Marshal(h)
		if want == "header: is not in deterministic " { // encoding writes nil as it should be
			raw, err = must(cbor.CoreDetEncOptions().EncMode()).Marshal(h)
		}
		if err != nil {
			t.Fatal(err)
		}
		claim := int64(0)
		switch n := under(h, "tokenizer")["bytes"].(type) {
		case uint64:
			claim = int64(n)
		case int64:
			claim = n
		case int:
			claim = int64(n)
		}
		err = check(forge(data, raw, claim))
		if want == "" {
			if err != nil {
				t.Errorf("the header unchanged: %v", err)
			}
		} else if !knownError(err) || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("got %v, want ... %s", err, want)
		}
	}
}

// TestHostileCBOR has headers that no map can be made to encode to.
func TestHostileCBOR(t *testing.T) {
	_, data := valid(t)
	c, err := parse("file", data)
	if err != nil {
		t.Fatal(err)
	}
	raw := c.bytes(c.layout.header)
	swap := func(old, new string) []byte {
		t.Helper()
		if bytes.Count(raw, []byte(old)) == 0 {
			t.Fatalf("%q is not in the header", old)
		}
		return bytes.Replace(raw, []byte(old), []byte(new), 1)
	}
	duplicate := swap("\x64rows\x06", "\x64rows\x06\x64rows\x06")
	at := bytes.Index(duplicate, []byte("\x64cols\x08\x64name\x65embed")) - 1 // of the map that holds both
	duplicate[at]++
	for _, f := range []struct {
		name, want string
		header     []byte
	}{
		{"empty", "EOF", nil},
		{"not a map", "cannot unmarshal", []byte{0x80}},
		{"null", "is not in deterministic CBOR", []byte{0xf6}},
		{"one byte more", "extraneous data", append(bytes.Clone(raw), 0)},
		{"cut", "unexpected EOF", raw[:len(raw)-1]},
		{"duplicate key", "duplicate map key", duplicate},
		{"long integer", "is not in deterministic CBOR", swap("\x64rows\x06", "\x64rows\x18\x06")},
		{"long text length", "is not in deterministic CBOR", swap("\x65embed", "\x78\x05embed")},
		{"long float", "is not in deterministic CBOR", swap("\xf9\x38\x00", "\xfa\x3f\x00\x00\x00")},
		{"keys out of order", "is not in deterministic CBOR", swap("\x64rows\x06\x65codes\x00", "\x65codes\x00\x64rows\x06")},
		{"indefinite array", "indefinite-length", swap("\x63eos\x81\x05", "\x63eos\x9f\x05\xff")},
		{"tag", "tag", swap("\x64rows\x06", "\x64rows\xc1\x06")},
		{"invalid UTF-8", "UTF-8", swap("mobilellm", "mobilel\xff\xfe")},
		{"huge array", "exceeded max number of elements", []byte("\xa1\x67tensors\x9a\x3f\xff\xff\xff")},
		{"huge text", "unexpected EOF", []byte("\xa1\x67tensors\x7a\x3f\xff\xff\xff")},
		{"huge map", "exceeded max number of key-value pairs", []byte("\xba\x3f\xff\xff\xff")},
		{"deep", "exceeded max nested level", bytes.Repeat([]byte{0x81}, 1<<20)},
	} {
		err := check(forge(data, f.header, c.layout.tokenizer.n))
		if !knownError(err) || !strings.Contains(err.Error(), f.want) {
			t.Errorf("%s: got %v, want ... %s", f.name, err, f.want)
		}
	}
}

func TestHostilePreamble(t *testing.T) {
	_, data := valid(t)
	for want, edit := range map[string]func(p *preamble){
		"magic: is \"\\x89THM\\n":                func(p *preamble) { p.Magic = [8]byte([]byte("\x89THM\n\x1a\n\x01")) },
		"version 2 (":                            func(p *preamble) { p.Version = 2 },
		"version: is 0":                          func(p *preamble) { p.Version = 0 },
		"feature 0x8000000000000000":             func(p *preamble) { p.Features = 1 << 63 },
		"header length: is 4294967295":           func(p *preamble) { p.Header = math.MaxUint32 },
		"header length: is 16777217":             func(p *preamble) { p.Header = maxHeader + 1 },
		"header: its SHA-256":                    func(p *preamble) { p.Header-- },
		"data offset: is 0":                      func(p *preamble) { p.Data = 0 },
		"data offset: is 18446744073709551615":   func(p *preamble) { p.Data = math.MaxUint64 },
		"file length: is 18446744073709551615":   func(p *preamble) { p.File = math.MaxUint64 },
		"the preamble says 00000000000000000000": func(p *preamble) { p.SHA256 = Digest{} },
	} {
		var p preamble
		bad := bytes.Clone(data)
		if _, err := binary.Decode(bad, binary.LittleEndian, &p); err != nil {
			t.Fatal(err)
		}
		edit(&p)
		if _, err := binary.Encode(bad, binary.LittleEndian, &p); err != nil {
			t.Fatal(err)
		}
		err := check(bad)
		if !knownError(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ... %s", err, want)
		}
		if newer := p.Version > Version || p.Features != 0; errors.Is(err, model.ErrUnsupported) != newer {
			t.Errorf("%v is of the wrong kind", err)
		}
	}

	long := append(bytes.Clone(data), make([]byte, maxHeader)...)
	binary.LittleEndian.PutUint32(long[12:], maxHeader+1)
	binary.LittleEndian.PutUint64(long[32:], uint64(len(long)))
	if err := check(long); !knownError(err) || !strings.Contains(err.Error(), "want at most 16777216") {
		t.Errorf("a header of %d bytes: %v", maxHeader+1, err)
	}
}

// FuzzOpen opens containers with any header and any change to the preamble.
// What opens is read to its bounds, and what is also whole is exactly what the
// writer makes of its contents.
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
