package thimble

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/qtensor"
)

// codedTiny returns the bytes of a container of tiny whose integer tensors are coded.
func codedTiny(t *testing.T) (path string, data []byte) {
	t.Helper()
	c := tiny()
	for i := range c.Tensors {
		c.Tensors[i].Coded = c.Tensors[i].Scheme.Kind == qtensor.Int
	}
	path = filepath.Join(t.TempDir(), "coded.thimble")
	if err := write(path, c, fill, Options{}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, data
}

// The same contents give these bytes on every machine.
func TestCodedGolden(t *testing.T) {
	const want = "047d8cb3df4c98e3b1fafba0101e1705b3a9796c68f1e420600fb2add16a5635"
	_, data := codedTiny(t)
	if got := Digest(sha256.Sum256(data)).String(); got != want {
		t.Errorf("SHA-256 of the coded container is %s, want %s", got, want)
	}
}

// A coded file has the digests of the same tensors stored plainly, and decodes to them.
func TestCodedIsLossless(t *testing.T) {
	plain, _ := valid(t)
	coded, _ := codedTiny(t)
	a, err := Inspect(plain)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Inspect(coded)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Tensors {
		if a.Tensors[i].SHA256 != b.Tensors[i].SHA256 {
			t.Errorf("%s: the digest of the coded tensor differs", a.Tensors[i].Name)
		}
	}
	if err := Check(t.Context(), coded, nil); err != nil {
		t.Error(err)
	}
}

// Every byte of a coded file is covered by a digest or must be zero.
func TestCodedDamage(t *testing.T) {
	_, data := codedTiny(t)
	if err := check(data); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(data); n += 97 { // a flip in the header or a gap is found before anything is decoded
		data[n] ^= 1 << (n % 8)
		if err := check(data); !knownError(err) {
			t.Fatalf("byte %d: %v", n, err)
		}
		data[n] ^= 1 << (n % 8)
		if n%3 == 0 {
			if err := check(data[:n]); !knownError(err) {
				t.Fatalf("the first %d bytes: %v", n, err)
			}
		}
	}
}

// Headers and pieces with the right digests, but made to do harm.
func TestHostileCoded(t *testing.T) {
	_, data := codedTiny(t)
	type object = map[string]any
	tensor := func(h object, i int) object { return h["tensors"].([]any)[i].(object) }
	pieces := func(h object, i int) []byte { return tensor(h, i)["pieces"].([]byte) }
	for want, edit := range map[string]func(h object){
		"":                          func(h object) {},
		"pieces take 35 bytes":      func(h object) { tensor(h, 0)["pieces"] = pieces(h, 0)[:35] },
		"only integers are coded":   func(h object) { tensor(h, 1)["pieces"] = make([]byte, pieceRecord) },
		"the header's tensors end":  func(h object) { binary.LittleEndian.PutUint32(pieces(h, 0), 1<<32-1) },
		"embed: is damaged":         func(h object) { pieces(h, 0)[4] ^= 1 },
		"from the first tensor":     func(h object) { tensor(h, 0)["codes"] = 64 },
		"is coded in 0 bytes, want": func(h object) { big(h); copy(pieces(h, 0), make([]byte, len(pieces(h, 0)))) },
	} {
		err := check(withHeader(t, data, edit, false))
		if want == "" {
			if err != nil {
				t.Errorf("the header unchanged: %v", err)
			}
		} else if !knownError(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ... %s", err, want)
		}
	}
	c, err := parse("file", data)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range c.coded {
		for _, p := range x.pieces {
			for i := p.off; i < p.end(); i += 29 {
				forged := bytes.Clone(data)
				forged[i] ^= 0x55
				err := check(withHeader(t, forged, func(h object) {
					record := pieces(h, indexOf(c, x.Name))
					for at := range len(record) / pieceRecord {
						q := x.pieces[at]
						sum := sha256.Sum256(forged[q.off:q.end()])
						copy(record[at*pieceRecord+4:], sum[:])
					}
				}, false))
				if err != nil && !knownError(err) {
					t.Fatalf("%s, byte %d: %v", x.Name, i, err)
				}
			}
		}
	}
}

// big gives the embedding of h the largest vocabulary.
func big(h map[string]any) {
	const vocab = 1 << 22
	h["spec"].(map[string]any)["vocab"] = vocab
	x := h["tensors"].([]any)[0].(map[string]any)
	x["rows"] = vocab
	e := Entry{Scheme: qtensor.Scheme{Kind: qtensor.Int, Bits: 8}, Rows: vocab, Cols: 8}
	x["pieces"] = make([]byte, e.pieces()*pieceRecord)
}

func indexOf(c *container, name string) int {
	for i, e := range c.contents.Tensors {
		if e.Name == name {
			return i
		}
	}
	return -1
}
