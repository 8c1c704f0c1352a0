package thimble

import (
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify/reference"
)

// descriptors returns the number of open files and mappings of this process, or 0 where the system
// does not say.
func descriptors() int {
	files, _ := os.ReadDir("/proc/self/fd")
	return len(files)
}

// Opening, verifying and closing a container a hundred times, undamaged or damaged, leaves no open
// file, no mapping and no goroutine.
func TestNothingLeaks(t *testing.T) {
	path, data := valid(t)
	broken := path + ".broken"
	if err := os.WriteFile(broken, append(slices.Clone(data[:len(data)-1]), data[len(data)-1]^1), 0o600); err != nil {
		t.Fatal(err)
	}
	short := path + ".short"
	if err := os.WriteFile(short, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	use := func() {
		for _, path := range []string{path, broken, short} {
			if m, err := Open(path); err == nil {
				_ = m.Verify(t.Context(), nil)
				_, _ = m.Tokenizer()
				m.Close()
			}
			_ = Check(t.Context(), path, nil)
			_, _ = Inspect(path)
		}
	}
	use() // starts what stays
	files, goroutines, maps := descriptors(), runtime.NumGoroutine(), mappings(path)
	for range 100 {
		use()
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(time.Millisecond) // those that are about to end
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if n := descriptors(); n > files {
		t.Errorf("%d open files, %d before", n, files)
	}
	if n := mappings(path); n != maps || n != 0 {
		t.Errorf("%d mappings of the file, %d before", n, maps)
	}
}

// mappings returns how often the memory map of this process names a file, or 0 where the system
// does not say.
func mappings(path string) (n int) {
	text, _ := os.ReadFile("/proc/self/maps")
	for at := 0; at+len(path) <= len(text); at++ {
		if string(text[at:at+len(path)]) == path {
			n++
		}
	}
	return n
}

// 64 goroutines that read one container at once get the same logits as one alone.
func TestManyReaders(t *testing.T) {
	path, _ := valid(t)
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	score := func(m *model.Model) ([]float32, error) {
		s, err := reference.NewScorer(m, transformer.Arithmetic{}, 0)
		if err != nil {
			return nil, err
		}
		ids := []int{0, 1, 2, 3, 4, 3, 2, 1}
		p, err := s.Score(t.Context(), ids)
		if err != nil {
			return nil, err
		}
		logits := make([]float32, len(ids)*s.Vocab())
		return logits, p.Logits(t.Context(), logits, 0, len(ids))
	}
	want, err := score(m)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			if err := m.Verify(t.Context(), nil); err != nil {
				t.Error(err)
			}
			if got, err := score(m); err != nil || !slices.Equal(got, want) {
				t.Errorf("other logits beside 63 readers: %v", err)
			}
		})
	}
	all.Wait()
}
