package checkpoint

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/mmap"
	"thimble/internal/parallel"
)

// Open takes time and memory in proportion to the header, not to the tensors.
func TestOpenIsLazy(t *testing.T) {
	const tensors = 300
	each := min(40<<20, math.MaxInt/4/tensors/2048*2048) // 12.6 GB where pointers have 64 bits
	var h strings.Builder
	for i := range tensors {
		name := fmt.Sprintf("model.layers.%d.self_attn.q_proj.weight", i)
		fmt.Fprintf(&h, ",%s", tensor(name, "BF16", fmt.Sprintf("[%d,%d]", each/2/1024, 1024), i*each, (i+1)*each))
	}
	b := file("{"+h.String()[1:]+"}", 0)
	path := write(t, b)
	size := int64(len(b)) + tensors*int64(each)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	best := time.Hour
	var before, after runtime.MemStats
	for range 5 { // in case the machine is busy
		runtime.ReadMemStats(&before)
		start := time.Now()
		c, err := Open(path)
		best = min(best, time.Since(start))
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.Tensors["model.layers.299.self_attn.q_proj.weight"].Data); got != each {
			t.Errorf("last tensor has %d bytes, want %d", got, each)
		}
		c.Close()
	}
	alloc := after.TotalAlloc - before.TotalAlloc
	t.Logf("%.1f GB: %v, %d kB allocated for a header of %d kB", float64(size)/1e9, best, alloc>>10, len(b)>>10)
	if best > 50*time.Millisecond {
		t.Errorf("Open took %v, want at most 50ms", best)
	}
	if limit := uint64(1 << 20); alloc > limit {
		t.Errorf("Open allocated %d bytes, want at most %d", alloc, limit)
	}
}

// The memory for the worst headers, with as many entries as possible, is bounded by a
// multiple of their size.
func TestHeaderMemory(t *testing.T) {
	list := func(n int, item func(i int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = item(i)
		}
		return "{" + strings.Join(items, ",") + "}"
	}
	empty := func(i int) string { return tensor(fmt.Sprint(i), "U8", "[0,0,0,0,0,0,0,0]", 0, 0) }
	for name, header := range map[string]string{
		"tensors":             list(maxTensors, empty),
		"tensors, by library": list(maxDecode/72, empty),
		"metadata":            `{"__metadata__":` + list(maxMetadata, func(i int) string { return fmt.Sprintf(`"%x":""`, i) }) + "}",
		"too much metadata":   `{"__metadata__":` + list(maxMetadata+1, func(i int) string { return fmt.Sprintf(`"%x":""`, i) }) + "}",
	} {
		path := write(t, file(header, 0))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c, err := Open(path)
		runtime.ReadMemStats(&after)
		if err == nil {
			c.Close()
		}
		total := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: header of %d kB, %d kB allocated (%v)", name, len(header)>>10, total>>10, err)
		if limit := uint64(2*len(header) + 64<<20); total > limit {
			t.Errorf("%s: Open allocated %d bytes, want at most %d", name, total, limit)
		}
	}
}

func TestTruncatedMeanwhile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let a mapped file be truncated")
	}
	path := write(t, file(small, 32))
	m, err := mmap.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	c := &Checkpoint{Tensors: map[string]*Tensor{}}
	defer c.Close()
	if err := c.add(path, m); !errors.Is(err, parallel.ErrFault) || !strings.HasPrefix(err.Error(), path+": ") {
		t.Errorf("add of a file truncated after mapping: %v, want ErrFault", err)
	}
}

func TestTruncatedAfterwards(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let a mapped file be truncated")
	}
	path := write(t, file("{"+tensor("a", "U8", "[1000000]", 0, 1000000)+"}", 1000000))
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	sum := 0
	err = parallel.Guard(func() error {
		for _, x := range c.Tensors["a"].Data {
			sum += int(x)
		}
		return nil
	})
	if !errors.Is(err, parallel.ErrFault) {
		t.Errorf("reading a truncated file: %v, want ErrFault", err)
	}
}

// Only one file imports the safetensors library, because our checks must come before it.
func TestImports(t *testing.T) {
	var importers []string
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			if strings.Contains(spec.Path.Value, "nlpodyssey/safetensors") {
				name, err := filepath.Rel(root, path)
				importers = append(importers, filepath.ToSlash(name))
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"internal/checkpoint/safetensors.go"}, importers); diff != "" {
		t.Error(diff)
	}
}
