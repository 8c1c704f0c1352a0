package thimble

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"thimble/internal/atomicfile/faulty"
	"thimble/internal/defect"
	"thimble/internal/qtensor"
)

// Whichever operation fails, either the old file is unchanged or the new one is
// complete, and nothing else is left.
func TestWriterFaults(t *testing.T) {
	_, whole := valid(t)
	// Tensors larger than the writer's buffer make it write more than once.
	big := tiny()
	big.Spec.Vocab = 300000
	big.Tensors[0].Rows = big.Spec.Vocab
	tensors := map[string]*qtensor.Matrix{}
	for _, e := range big.Tensors {
		tensors[e.Name] = fill(e)
	}
	of := func(e Entry) *qtensor.Matrix { return tensors[e.Name] }
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, nil} {
		for n := 1; ; n++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "out.thimble")
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				t.Fatal(err)
			}
			s := &faulty.System{Fail: n, Err: cause}
			err := write(path, big, of, Options{Overwrite: true, system: s})
			if len(s.Trace) < n {
				if err != nil || !slices.Contains(s.Trace[2:], "write") {
					t.Fatalf("%v: %v", s.Trace, err)
				}
				break
			}
			if cause != nil || strings.HasPrefix(s.Trace[n-1], "write") { // only writing fails without an error
				checkFault(t, s, err, path, int64(len(whole)))
			}
		}
	}
}

// checkFault checks the error of a write over the file of size bytes at path, in
// which s made an operation fail, and what the write left.
func checkFault(t *testing.T, s *faulty.System, err error, path string, size int64) {
	t.Helper()
	op, want := s.Trace[s.Fail-1], s.Err
	if want == nil {
		want = io.ErrShortWrite
	}
	if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), path+": ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("operation %d, %s: %v, want %v", s.Fail, op, err, want)
	}
	if err := faulty.Only(filepath.Dir(path), filepath.Base(path)); err != nil {
		t.Errorf("operation %d, %s: %v", s.Fail, op, err)
	}
	if err := Check(t.Context(), path, nil); err != nil {
		t.Errorf("operation %d, %s: %v", s.Fail, op, err)
	}
	if info, err := os.Stat(path); err != nil || (info.Size() == size) != (op != "syncdir") {
		t.Errorf("operation %d, %s: file of %d bytes, %v", s.Fail, op, info.Size(), err)
	}
}

func TestWriterRefusesContents(t *testing.T) {
	for want, edit := range map[string]func(c *Contents){
		"spec: heads is 0":                      func(c *Contents) { c.Spec.Heads = 0 },
		"norm: tensor is missing":               func(c *Contents) { c.Tensors = c.Tensors[:len(c.Tensors)-1] },
		"describes a model without this tensor": func(c *Contents) { c.Tensors = append(c.Tensors, Entry{Name: "head", Rows: 6, Cols: 8}) },
		"is tensor 1, want blocks.0.attn":       func(c *Contents) { c.Tensors[1], c.Tensors[2] = c.Tensors[2], c.Tensors[1] },
		"shape is (6, 9)":                       func(c *Contents) { c.Tensors[0].Cols = 9 },
		"a vector is stored as":                 func(c *Contents) { c.Tensors[1].Scheme = scheme("int8/row") },
		"group of 7 columns":                    func(c *Contents) { c.Tensors[0].Scheme.Group = 7 },
		"is not the base name":                  func(c *Contents) { c.Provenance.Sources[0].Name = "a/b" },
		"SHA-256 has 3 bytes":                   func(c *Contents) { c.Provenance.Sources[0].SHA256 = []byte("abc") },
		"has -1 bytes":                          func(c *Contents) { c.Provenance.Sources[0].Bytes = -1 },
		"are not sorted":                        func(c *Contents) { c.Provenance.Overrides = []string{"b=1", "a=1"} },
		"has no metric":                         func(c *Contents) { c.Gates[0].Metric = "" },
		"value NaN is not finite":               func(c *Contents) { c.Gates[0].Value = math.NaN() },
		"limit +Inf":                            func(c *Contents) { c.Gates[0].Limit = math.Inf(1) },
		"gates[0]: op is <, want <= or >=":      func(c *Contents) { c.Gates[0].Op = "<" },
		"value 0.25 is not >= 0.5":              func(c *Contents) { c.Gates[0].Op = ">=" },
		"value 0.75 is not <= 0.5":              func(c *Contents) { c.Gates[0].Value = 0.75 },
		"SHA-256 of its reference":              func(c *Contents) { c.Gates[0].Against = nil },
		"invalid UTF-8":                         func(c *Contents) { c.Provenance.Recipe = "\xff" },
		"header takes":                          func(c *Contents) { c.Provenance.Recipe = strings.Repeat("r", maxHeader) },
		"tokenizer.bytes: is 134217729, want":   func(c *Contents) { c.Tokenizer = make([]byte, maxTokenizer+1) },
	} {
		dir := t.TempDir()
		c := tiny()
		edit(c)
		_, err := Create(filepath.Join(dir, "out.thimble"), c, Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want ... %s", err, want)
		}
		if err := faulty.Only(dir); err != nil {
			t.Error(err)
		}
	}
	c := tiny()
	c.Spec.Rope.Scaling = "ntk"
	if _, err := Create(filepath.Join(t.TempDir(), "x"), c, Options{}); !errors.Is(err, defect.ErrUnsupported) {
		t.Errorf("unknown rope scaling: %v", err)
	}
}

func TestWriterRefusesTensors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.thimble")
	begin := func() *Writer {
		t.Helper()
		w, err := Create(path, tiny(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	refused := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ... %s", err, want)
		}
	}
	w := begin()
	first := fill(w.contents.Tensors[0])
	other := *first
	other.Scheme = scheme("int8/g8")
	refused(w.Write(&other), "embed: is int8/g8/sym (6, 8), want int8/row/sym (6, 8) as in the contents")
	short := *first
	short.Codes = short.Codes[1:]
	refused(w.Write(&short), "codes take 47 bytes")
	if err := w.Write(first); err != nil {
		t.Error(err)
	}
	refused(w.Close(), "1 of 11 tensors are written")
	refused(w.Write(first), "1 of 11")

	w = begin()
	for _, e := range w.contents.Tensors {
		if err := w.Write(fill(e)); err != nil {
			t.Fatal(err)
		}
	}
	refused(w.Write(first), "all 11 tensors are written")
	w.Abort()
	refused(w.Close(), "is closed")
	if err := faulty.Only(dir); err != nil {
		t.Error(err)
	}
}

func TestWriterRefusesPlace(t *testing.T) {
	path, _ := valid(t)
	dir := filepath.Dir(path)
	for want, o := range map[string]Options{
		"exists":      {},
		"is an input": {Overwrite: true, Inputs: []string{path}},
		"disk has":    {Overwrite: true, system: &faulty.System{Room: 1000}},
	} {
		if err := write(path, tiny(), fill, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ... %s", err, want)
		}
		if err := Check(t.Context(), path, nil); err != nil {
			t.Error(err)
		}
	}
	if err := faulty.Only(dir, filepath.Base(path)); err != nil {
		t.Error(err)
	}
}

// Until Close the temporary file is not a container, whatever was written.
func TestUnfinishedIsNoContainer(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(filepath.Join(dir, "out.thimble"), tiny(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, e := range w.contents.Tensors {
		if err := w.Write(fill(e)); err != nil {
			t.Fatal(err)
		}
	}
	w.put(w.size, nil)
	if err := w.buf.Flush(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	if _, err := Open(filepath.Join(dir, entries[0].Name())); err == nil || !strings.Contains(err.Error(), "magic") {
		t.Errorf("the unfinished file gives %v", err)
	}
}
