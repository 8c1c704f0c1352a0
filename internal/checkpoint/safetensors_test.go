package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/defect"
)

// file returns a safetensors file with the given header and size bytes of data.
func file(header string, size int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	for i := range size {
		b = append(b, byte(i))
	}
	return b
}

// write writes b to a file in a new directory and returns its path.
func write(t testing.TB, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const small = `{"__metadata__":{"format":"pt"},` +
	`"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},` +
	`"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]},` +
	`"none":{"dtype":"BF16","shape":[0,7],"data_offsets":[24,24]}}   `

func TestOpenFile(t *testing.T) {
	b := file(small, 32)
	path := write(t, b)
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data := b[len(b)-32:]
	want := map[string]*Tensor{
		"a":    {Name: "a", File: path, DType: F32, Shape: []int{2, 3}, Data: data[:24]},
		"b":    {Name: "b", File: path, DType: I64, Shape: nil, Data: data[24:]},
		"none": {Name: "none", File: path, DType: BF16, Shape: []int{0, 7}, Data: []byte{}},
	}
	if diff := cmp.Diff(want, c.Tensors); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"format": "pt"}, c.Metadata); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{path}, c.Files); diff != "" {
		t.Error(diff)
	}
	if a := c.Tensors["a"].Data; cap(a) != len(a) {
		t.Errorf("appending to a's data would overwrite b's: len %d, cap %d", len(a), cap(a))
	}
}

// The library of Rust reads a null __metadata__ as an absent one.
func TestNullMetadata(t *testing.T) {
	c, err := Open(write(t, file(`{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Tensors["a"] == nil || len(c.Tensors["a"].Data) != 4 || c.Metadata != nil {
		t.Errorf("tensors %v, metadata %v", c.Tensors, c.Metadata)
	}
}

// Open accepts a file that has types which the library does not know.
func TestTypesUnknownToLibrary(t *testing.T) {
	b := file(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[12,16]},`+
		`"q":{"dtype":"F8_E4M3","shape":[5],"data_offsets":[0,5]},`+
		`"r":{"dtype":"F4","shape":[2,7],"data_offsets":[5,12]},`+
		`"c":{"dtype":"C64","shape":[1],"data_offsets":[16,24]}}`, 24)
	c, err := Open(write(t, b))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for name, want := range map[string][]byte{"q": {0, 1, 2, 3, 4}, "r": {5, 6, 7, 8, 9, 10, 11}, "w": {12, 13, 14, 15}, "c": {16, 17, 18, 19, 20, 21, 22, 23}} {
		if got := c.Tensors[name].Data; !bytes.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func tensor(name, dtype, shape string, begin, end int) string {
	return fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, name, dtype, shape, begin, end)
}

func TestRefuses(t *testing.T) {
	one := func(name, dtype, shape string, begin, end int) string {
		return "{" + tensor(name, dtype, shape, begin, end) + "}"
	}
	two := func(begin, end int) string {
		return "{" + tensor("a", "U8", "[8]", 0, 8) + "," + tensor("b", "U8", fmt.Sprintf("[%d]", end-begin), begin, end) + "}"
	}
	length := func(n uint64, rest string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), rest...)
	}
	var many strings.Builder
	for i := range maxTensors + 1 {
		fmt.Fprintf(&many, ",%s", tensor(fmt.Sprint(i), "U8", "[0]", 0, 0))
	}
	var metadata strings.Builder
	for i := range maxMetadata + 1 {
		fmt.Fprintf(&metadata, `,"%d":""`, i)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"empty", nil, "byte 0: header length: the file has 0 bytes, want at least 8: it is truncated; copy or download it again"},
		{"short", []byte("1234567"), "byte 0: header length: the file has 7 bytes, want at least 8: it is truncated; copy or download it again"},
		{"huge header", length(1<<63, "{}"), "byte 0: header length: 9223372036854775808, want at most 100000000: not a safetensors file"},
		{"wrapping header", length(1<<64-8, "{}"), "byte 0: header length: 18446744073709551608, want at most 100000000: not a safetensors file"},
		{"long header", length(100, "{}"), "byte 0: header length: 100, the file has 2 bytes left: it is truncated; copy or download it again"},
		{"no header", length(0, ""), "byte 8: header: does not start with '{': not a safetensors file"},
		{"null header", file("null", 0), "byte 8: header: does not start with '{': not a safetensors file"},
		{"leading space", file(" {}", 0), "byte 8: header: does not start with '{': not a safetensors file"},
		{"text", []byte(`{"model_type": "llama"}`), `byte 0: header length: 6875982213128462971, want at most 100000000: not a safetensors file`},
		{"second object", file("{}{}", 0), "byte 10: unexpected '{' after the value"},
		{"zero padding", file("{}\x00", 0), `byte 10: unexpected '\x00' after the value`},
		{"invalid UTF-8", file(`{"`+"\xff"+`":{}}`, 0), "byte 11: string is not UTF-8"},
		{"lone surrogate", file(`{"\ud800":{}}`, 0), "byte 16: unpaired surrogate"},
		{"deep", file(`{"a":`+strings.Repeat("[", 70), 0), "byte 13: a: found an array, want an object"},
		{"deep shape", file(`{"a":{"shape":`+strings.Repeat("[", 70), 0), "byte 23: a.shape: found an array, want a number"},
		{"duplicate tensor", file("{"+tensor("a", "U8", "[1]", 0, 1)+`,"\u0061":{}}`, 1), `byte 69: key "a" occurs twice`},
		{"duplicate key", file(`{"a":{"dtype":"U8","dtype":"U8"}}`, 0), `byte 34: a: key "dtype" occurs twice`},
		{"duplicate metadata", file(`{"__metadata__":{"k":"v","k":"v"}}`, 0), `byte 36: __metadata__: key "k" occurs twice`},
		{"metadata number", file(`{"__metadata__":{"k":1}}`, 0), `byte 29: __metadata__.k: found a number, want a string`},
		{"metadata list", file(`{"__metadata__":[]}`, 0), `byte 24: __metadata__: found an array, want an object`},
		{"unknown key", file(`{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"x":0}}`, 1), "byte 63: a.x: unknown key, want dtype, shape and data_offsets"},
		{"missing key", file(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "byte 39: a: has 2 keys, want dtype, shape and data_offsets"},
		{"null tensor", file(`{"a":null}`, 0), "byte 13: a: found null, want an object"},
		{"null dtype", file(`{"a":{"dtype":null}}`, 0), "byte 22: a.dtype: found null, want a string"},
		{"unknown dtype", file(one("a", "F7", "[1]", 0, 1), 1), `byte 26: a.dtype: "F7" is not a safetensors type`},
		{"dtype in lower case", file(one("a", "f32", "[1]", 0, 4), 4), `byte 27: a.dtype: "f32" is not a safetensors type`},
		{"float shape", file(one("a", "U8", "[1.0]", 0, 1), 1), `byte 39: a.shape: "1.0", want a whole number of at most 64 bits`},
		{"negative shape", file(one("a", "U8", "[-1]", 0, 1), 1), `byte 38: a.shape: "-1", want a whole number of at most 64 bits`},
		{"huge dimension", file(one("a", "U8", "[9223372036854775808]", 0, 1), 1), `byte 55: a.shape: dimension 9223372036854775808 is out of range`},
		{"nine dimensions", file(one("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1), 1), `byte 53: a.shape: more than 8 dimensions`},
		{"overflow", file(one("a", "F32", "[2147483647,2147483647,2147483647]", 0, 0), 0), `byte 92: a: shape [2147483647 2147483647 2147483647] of F32 is not a whole number of bytes below 2^64`},
		{"overflow and zero", file(one("a", "F32", "[0,2147483647,2147483647,2147483647]", 0, 0), 0), `byte 94: a: shape [0 2147483647 2147483647 2147483647] of F32 is not a whole number of bytes below 2^64`},
		{"half a byte", file(one("a", "F4", "[3]", 0, 1), 1), `byte 60: a: shape [3] of F4 is not a whole number of bytes below 2^64`},
		{"one offset", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}`, 1), "byte 58: a: has 1 data_offsets, want 2"},
		{"three offsets", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, 1), "byte 60: a.data_offsets: more than 2 offsets"},
		{"backward offsets", file(one("a", "U8", "[1]", 1, 0), 1), `byte 60: a: data_offsets are [1, 0], shape [1] of U8 takes 1 bytes`},
		{"wrong size", file(one("a", "F16", "[2,2]", 0, 7), 7), `byte 63: a: data_offsets are [0, 7], shape [2 2] of F16 takes 8 bytes`},
		{"truncated", file(one("a", "U8", "[9]", 0, 9), 8), "a: data ends at 9, the file has 8 bytes of data: it is truncated; copy or download it again"},
		{"trailing", file(one("a", "U8", "[8]", 0, 8), 9), "1 bytes follow the last tensor"},
		{"hole at the start", file(one("a", "U8", "[8]", 1, 9), 9), "a: data begins at 1, no tensor has the 1 bytes before it"},
		{"hole", file(two(9, 16), 16), "b: data begins at 9, no tensor has the 1 bytes before it"},
		{"overlap", file(two(7, 16), 16), `b: data begins at 7, inside "a", which ends at 8`},
		{"same place", file(two(0, 8), 8), `b: data begins at 0, inside "a", which ends at 8`},
		{"empty name", file(one("", "U8", "[1]", 0, 1), 1), "byte 12: name of 0 bytes, want 1 to 1024"},
		{"long name", file(one(strings.Repeat("n", 1025), "U8", "[1]", 0, 1), 1), strings.Repeat("n", 128) + "...: name of 1025 bytes, want 1 to 1024"},
		{"escape in a name", file(`{"a\u001b[2J":{}}`, 0), `"a\x1b[2J": control character in the name`},
		{"many tensors", file("{"+many.String()[1:]+"}", 0), "65536: more than 65536 tensors"},
		{"much metadata", file(`{"__metadata__":{`+metadata.String()[1:]+"}}", 0), "__metadata__.65536: more than 65536 entries"},
		{"PyTorch zip", []byte("PK\x03\x04\x00\x00\x08\x08\x00\x00"), "zip: zip: not a valid zip file: it is damaged or truncated; copy or download it again"},
		{"PyTorch pickle", []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."), "byte 15: pickle: needs 1 bytes, 0 are left: it is truncated; copy or download it again"},
		{"GGUF", []byte("GGUF\x03\x00\x00\x00\x00"), "checkpoint: a GGUF file as part of a checkpoint is not supported; open it by its own path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.b)
			k, err := Open(path)
			if err == nil {
				k.Close()
				t.Fatalf("Open accepts the file, want %s", c.want)
			}
			if !strings.HasPrefix(err.Error(), path+": ") || !strings.HasSuffix(err.Error(), ": "+c.want) {
				t.Errorf("got  %v\nwant %s: %s", err, path, c.want)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("error has control characters: %q", err)
			}
			var corrupt *defect.CorruptError
			if errors.As(err, &corrupt) == errors.Is(err, defect.ErrUnsupported) {
				t.Errorf("%v, want either a CorruptError or ErrUnsupported", err)
			}
		})
	}
}

func TestTruncation(t *testing.T) {
	whole := file(small, 32)
	path := filepath.Join(t.TempDir(), "x")
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		var corrupt *defect.CorruptError
		if c, err := Open(path); err == nil {
			c.Close()
			t.Fatalf("Open accepts the first %d of %d bytes", n, len(whole))
		} else if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), "truncated") {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// No header makes readHeader panic. The entries of an accepted header tile the data, and
// the library, if it knows the types, reads the same bytes.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(small), uint16(32))
	f.Add([]byte(`{}`), uint16(0))
	f.Add([]byte("{"+tensor("a", "F4", "[2,7]", 0, 7)+","+tensor("b", "F64", "[1,1]", 7, 15)+"}"), uint16(15))
	f.Add([]byte("{"+tensor("é\x00", "BOOL", "[0,18446744073709551615]", 0, 0)+"}"), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, size uint16) {
		b := file(string(text), int(size))
		h, err := readHeader("f", b)
		if err != nil {
			return
		}
		data, err := tensorData("f", b, h)
		if err != nil {
			t.Fatalf("the library rejects a header that readHeader accepts: %q: %v", text, err)
		}
		var tiled []byte
		for i := range h.entries {
			e := &h.entries[i]
			n, _ := e.bytes()
			d := data(e)
			if uint64(len(d)) != n {
				t.Fatalf("%q: %s has %d bytes, want %d", text, e.name, len(d), n)
			}
			tiled = append(tiled, d...)
		}
		if !bytes.Equal(tiled, b[h.data:]) {
			t.Fatalf("%q: tensors do not tile the data", text)
		}
		if !slices.IsSortedFunc(h.entries, func(a, b entry) int { return int(a.begin) - int(b.begin) }) {
			t.Fatalf("%q: entries are not sorted by offset", text)
		}
	})
}
