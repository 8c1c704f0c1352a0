package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Each limit of docs/SECURITY.md is where it says: the largest value passes, and the next is refused
// with a text that names the limit.
func TestLimits(t *testing.T) {
	if pickleLimits != (limits{maxPickle, maxOps, maxStack, maxMemo}) {
		t.Errorf("pickles have the limits %+v", pickleLimits)
	}
	few := limits{bytes: 5000, ops: 2000, stack: 700, memo: 300} // the real ones take seconds
	comment := strings.Repeat("c", 65535)
	pickle := func(program string) error {
		_, err := (&machine{file: "f", b: []byte(program), most: few}).run()
		return err
	}
	header := func(text string) error {
		_, err := readHeader("f", file(text, 0))
		return err
	}
	entries := func(n int, item func(i int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item(i)
		}
		return "{" + strings.Join(items, ",") + "}"
	}
	for _, c := range []struct {
		name  string
		limit int
		step  int // to the next value
		try   func(n int) error
		want  string
	}{
		{"header", maxHeader, 1, func(n int) error {
			_, err := readHeader("f", append(binary.LittleEndian.AppendUint64(nil, uint64(n)), "{}"...))
			return err
		}, "want at most 100000000"},
		{"name", maxName, 1, func(n int) error { return header("{" + tensor(strings.Repeat("n", n), "U8", "[0]", 0, 0) + "}") }, "want 1 to 1024"},
		{"dimensions", maxDims, 1, func(n int) error {
			return header("{" + tensor("a", "U8", "[0"+strings.Repeat(",0", n-1)+"]", 0, 0) + "}")
		}, "more than 8 dimensions"},
		{"shards", maxShards, 1, func(n int) error {
			_, _, err := parseIndex("f", []byte(`{"weight_map":`+entries(n, func(i int) string { return fmt.Sprintf(`"%d":"%d.safetensors"`, i, i) })+"}"))
			return err
		}, "want 1 to 4096"},
		{"pickle", few.bytes, 1, func(n int) error {
			text := make([]byte, n-6)
			return pickle("X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(text)))) + string(text) + ".")
		}, "longer than 5000 bytes"},
		{"operations", few.ops, 1, func(n int) error { return pickle("N" + strings.Repeat("q\x00", n-2) + ".") }, "more than 2000 operations"},
		{"stack", few.stack, 1, func(n int) error { return pickle("(" + strings.Repeat("N", n) + "t.") }, "more than 700 values"},
		{"memo", few.memo, 1, func(n int) error {
			program := []byte("N")
			for i := range n {
				program = binary.LittleEndian.AppendUint32(append(program, 'r'), uint32(i))
			}
			return pickle(string(program) + ".")
		}, "more than 300 values in the memo"},
		{"name in a pickle", maxLine, 1, func(n int) error { return pickle("c" + strings.Repeat("a", n) + "\nb\n.") }, "name of more than 256 bytes"},
		{"entries", maxEntries, 1, func(n int) error {
			return archiveOf(t, n, func(i int) *zip.FileHeader { return &zip.FileHeader{Name: fmt.Sprint(i)} })
		}, "more than 65536 entries"},
		{"directory", maxDirectory / (1 << 16), 1, func(n int) error {
			return archiveOf(t, n-1, func(i int) *zip.FileHeader {
				return &zip.FileHeader{Name: fmt.Sprint(i), Comment: comment}
			})
		}, "directory of more than 8388608 bytes"},
		{"ratio", maxRatio, 1, func(n int) error {
			return archiveOf(t, 1, func(int) *zip.FileHeader {
				return &zip.FileHeader{Name: "x", Method: zip.Deflate, CompressedSize64: 10, UncompressedSize64: uint64(10 * n)}
			})
		}, "want at most 100 to 1"},
	} {
		if err := c.try(c.limit); err != nil && strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the limit itself is refused: %v", c.name, err)
		}
		if err := c.try(c.limit + c.step); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: more than the limit gives %v, want ... %s", c.name, err, c.want)
		}
	}
}

// archiveOf opens a zip file with n entries and returns the error of opening it and of looking at
// the first.
func archiveOf(t *testing.T, n int, entry func(i int) *zip.FileHeader) error {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range n {
		w, err := z.CreateRaw(entry(i))
		if err == nil {
			_, err = w.Write(make([]byte, entry(i).CompressedSize64))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := openArchive("f", b.Bytes())
	if err != nil {
		return err
	}
	for _, e := range a.entries {
		if _, err := a.stored(e); err != nil {
			return err
		}
	}
	return nil
}

// What a pickle allocates is at most 200 times its bytes, as docs/SECURITY.md says; since its
// operations are limited, that is at most 400 MiB.
func TestPickleMemory(t *testing.T) {
	const n = 50_000
	for _, program := range []string{
		"(" + strings.Repeat("}", n) + "t.", "(" + strings.Repeat("]", n) + "t.", "]" + strings.Repeat("}a", n) + ".", ")" + strings.Repeat("\x85", n) + ".", "(" + strings.Repeat("U\x01a", n) + "t.",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := (&machine{file: "f", b: []byte(program), most: pickleLimits}).run()
		runtime.ReadMemStats(&after)
		total := after.TotalAlloc - before.TotalAlloc
		if err != nil || total > uint64(200*len(program)) {
			t.Errorf("%.5q...: %d bytes for %d, want at most 200 times as many; %v", program, total, len(program), err)
		}
	}
}
