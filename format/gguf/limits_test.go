package gguf

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Each limit of docs/SECURITY.md is where it says: the largest value passes, and the next is refused
// with a text that names the limit.
func TestLimits(t *testing.T) {
	if testing.Short() {
		t.Skip("makes files of many megabytes")
	}
	base := tinyDraft(t)
	read := func(edit func(d *draft)) error {
		d := *base
		d.keys, d.tensors = append([]draftKey(nil), base.keys...), append([]draftTensor(nil), base.tensors...)
		edit(&d)
		text := d.bytes()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseFront("f", text)
		runtime.ReadMemStats(&after)
		if total, most := after.TotalAlloc-before.TotalAlloc, uint64(8*len(text)+64<<20); total > most {
			t.Errorf("a file of %d bytes allocates %d, want at most %d", len(text), total, most)
		}
		return err
	}
	array := func(n int) []byte {
		b := []byte{9, 0, 0, 0, 0, 0, 0, 0} // of u8
		return append(le.AppendUint64(b, uint64(n)), make([]byte, n)...)
	}
	for _, c := range []struct {
		name  string
		limit int
		try   func(n int) error
		want  string
	}{
		{"string", maxString, func(n int) error { return read(func(d *draft) { d.set("x", strings.Repeat("s", n)) }) }, "want at most 16777216"},
		{"items", maxItems, func(n int) error { return read(func(d *draft) { d.set("x", array(n)) }) }, "want at most 16777216"},
		{"key", maxKey, func(n int) error { return read(func(d *draft) { d.set(strings.Repeat("k", n), 1) }) }, "want at most 65535"},
		{"name", maxName, func(n int) error { return read(func(d *draft) { d.tensors[0].name = strings.Repeat("n", n) }) }, "want at most 63"},
		{"keys", maxKeys, func(n int) error {
			return read(func(d *draft) {
				for i := len(d.keys); i < n; i++ {
					d.keys = append(d.keys, draftKey{fmt.Sprint("k", i), rawValue(1)})
				}
			})
		}, "want at most 65536"},
		{"tensors", maxTensors, func(n int) error {
			return read(func(d *draft) {
				for i := len(d.tensors); i < n; i++ {
					d.tensors = append(d.tensors, draftTensor{name: fmt.Sprint("t", i), dims: []uint64{1}, data: make([]byte, 4)})
				}
			})
		}, "want at most 65536"},
	} {
		if err := c.try(c.limit); err != nil {
			t.Errorf("%s: the limit itself is refused: %v", c.name, err)
		}
		if err := c.try(c.limit + 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: more than the limit gives %v, want ... %s", c.name, err, c.want)
		}
	}
}
