package thimble

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
	"thimble/internal/model"
)

// forge returns data with another header and correct lengths and digests.
// tokenizer is the length of the tokenizer that the header claims.
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
		"":                                      func(h object) {},
		"0 from the first tensor":               func(h object) { tensor(h, 1)["codes"] = 0 },
		"want 0, 64, 0":                         func(h object) { tensor(h, 0)["scales"] = int64(1 << 62) },
		"want 0, 64, 0 ":                        func(h object) { delete(tensor(h, 0), "scales") },
		"codes, scales and mins":                func(h object) { tensor(h, 0)["mins"] = 64 },
		"blocks.0.attn_norm":                    func(h object) { tensor(h, 1)["codes"] = -64 },
		"is tensor 1, want":                     func(h object) { ts := h["tensors"].([]any); ts[1], ts[2] = ts[2], ts[1] },
		"tensor is missing":                     func(h object) { h["tensors"] = h["tensors"].([]any)[:3] },
		"describes a model without this tensor": func(h object) { h["tensors"] = append(h["tensors"].([]any), tensor(h, 0)) },
		"header: is not in deterministic":       func(h object) { delete(h, "gates") },
		"header: is not in deterministic ":      func(h object) { h["gates"] = nil },
		"header: is not in deterministic  ":     func(h object) { tensor(h, 1)["mins"] = 0 },
		"header: is not in deterministic   ":    func(h object) { tensor(h, 1)["sha256"] = []byte("short") },
		"header: is not in deterministic    ":   func(h object) { under(h, "spec")["normeps"] = 0 },
		"unknown field":                         func(h object) { h["extra"] = 1 },
		"unknown field ":                        func(h object) { tensor(h, 0)["Name"] = "embed" },
		"cannot unmarshal":                      func(h object) { h["tensors"] = "none" },
		"cannot unmarshal ":                     func(h object) { tensor(h, 0)["rows"] = 1.5 },
		"cannot unmarshal  ":                    func(h object) { tensor(h, 0)["rows"] = uint64(math.MaxUint64) },
		"shape is (2147483647, 8)":              func(h object) { tensor(h, 0)["rows"] = math.MaxInt32 },
		"shape is (-6, 8)":                      func(h object) { tensor(h, 0)["rows"] = -6 },
		"the header's tensors end at": func(h object) { // larger than the file
			under(h, "spec")["vocab"], tensor(h, 0)["rows"] = model.MaxVocab, model.MaxVocab
			for i := range 11 {
				for _, plane := range []string{"codes", "scales", "mins"} {
					if off, ok := tensor(h, i)[plane].(uint64); ok && off > 0 {
						// The planes after the embedding's codes move by their growth of 8
						// bytes a row, and those after its scales by 2 more.
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
		"scaling \"ntk\"":          func(h object) { under(under(h, "spec"), "rope")["scaling"] = "ntk" },
		"tokenizer.bytes: is -1":   func(h object) { under(h, "tokenizer")["bytes"] = -1 },
		"want 0 to 134217728":      func(h object) { under(h, "tokenizer")["bytes"] = int64(math.MaxInt64) },
		"zeros":                    func(h object) { under(h, "tokenizer")["bytes"] = 0 },
		"tokenizer: is damaged":    func(h object) { under(h, "tokenizer")["sha256"] = make([]byte, 32) },
		"embed: is damaged":        func(h object) { tensor(h, 0)["sha256"] = make([]byte, 32) },
		"op is ==, want":           func(h object) { h["gates"].([]any)[0].(object)["op"] = "==" },
		"in deterministic CBOR":    func(h object) { h["gates"].([]any)[0].(object)["op"] = "" },
		"cannot unmarshal   ":      func(h object) { h["gates"].([]any)[0].(object)["op"] = 1 },
		"value 0.25 is not >= 0.5": func(h object) { h["gates"].([]any)[0].(object)["op"] = ">=" },
		"has -612 bytes":           func(h object) { under(h, "provenance")["sources"].([]any)[0].(object)["bytes"] = -612 },
		"order of 2 channels":      func(h object) { under(h, "provenance")["channels"] = []int{0, 1} },
		"has channel -1 twice":     func(h object) { under(h, "provenance")["channels"] = []int{-1, 1, 2, 3, 4, 5, 6, 7} },
		"is not the base name":     func(h object) { under(h, "provenance")["sources"].([]any)[0].(object)["name"] = "../x" },
		"exceeded max nested":      func(h object) { under(h, "provenance")["recipe"] = []any{[]any{[]any{[]any{}}}} },
		"exceeded max number of e": func(h object) { under(h, "spec")["schedule"] = make([]int, 1<<15+1) },
		"steps is 32768":           func(h object) { under(h, "spec")["schedule"] = make([]int, 1<<15) },
	} {
		// encoding would write nil as an empty array.
		err := check(withHeader(t, data, edit, want == "header: is not in deterministic "))
		if want == "" {
			if err != nil {
				t.Errorf("the header unchanged: %v", err)
			}
		} else if !knownError(err) || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("got %v, want ... %s", err, want)
		}
	}
}

// withHeader returns data with its header edited as a map. keepNil encodes nil as
// CBOR's null.
func withHeader(t *testing.T, data []byte, edit func(h map[string]any), keepNil bool) []byte {
	t.Helper()
	var h map[string]any
	mode := must(cbor.DecOptions{DefaultMapType: reflect.TypeFor[map[string]any]()}.DecMode())
	c, err := parse("file", data)
	if err != nil {
		t.Fatal(err)
	}
	if err := mode.Unmarshal(c.bytes(c.layout.header), &h); err != nil {
		t.Fatal(err)
	}
	edit(h)
	marshal := encoding.Marshal
	if keepNil {
		marshal = must(cbor.CoreDetEncOptions().EncMode()).Marshal
	}
	raw, err := marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	claim := int64(0)
	switch n := h["tokenizer"].(map[string]any)["bytes"].(type) {
	case uint64:
		claim = int64(n)
	case int64:
		claim = n
	case int:
		claim = int64(n)
	}
	return forge(data, raw, claim)
}

// TestHostileCBOR has headers that are not the encoding of any map.
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
		{"wide map", "exceeded max number of key-value pairs", []byte("\xb8\x41")},
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
		"magic: is \"\\x89THM\\n":              func(p *preamble) { p.Magic = [8]byte([]byte("\x89THM\n\x1a\n\x01")) },
		"version 2 (":                          func(p *preamble) { p.Version = 2 },
		"version: is 0":                        func(p *preamble) { p.Version = 0 },
		"feature 0x8000000000000000":           func(p *preamble) { p.Features = 1 << 63 },
		"header length: is 4294967295":         func(p *preamble) { p.Header = math.MaxUint32 },
		"header length: is 16777217":           func(p *preamble) { p.Header = maxHeader + 1 },
		"header: is damaged: its SHA-256":      func(p *preamble) { p.Header-- },
		"data offset: is 0":                    func(p *preamble) { p.Data = 0 },
		"data offset: is 18446744073709551615": func(p *preamble) { p.Data = math.MaxUint64 },
		"file length: is 18446744073709551615": func(p *preamble) { p.File = math.MaxUint64 },
		"the preamble has 0000000000000000...": func(p *preamble) { p.SHA256 = Digest{} },
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
		if newer := p.Version > version || p.Features != 0; errors.Is(err, defect.ErrUnsupported) != newer {
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
