package parallel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"thimble/internal/mmap"
)

func TestDoRunsEachOnce(t *testing.T) {
	for _, procs := range []int{1, 8} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		for _, n := range []int{0, 1, 2, 1000} {
			ran := make([]atomic.Int32, n)
			err := Do(t.Context(), n, func(worker, i int) error {
				if worker < 0 || worker >= Workers() {
					t.Errorf("worker %d of %d", worker, Workers())
				}
				ran[i].Add(1)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for i := range ran {
				if ran[i].Load() != 1 {
					t.Errorf("n=%d: task %d ran %d times", n, i, ran[i].Load())
				}
			}
		}
	}
}

// Ranges covers each index once, in ranges of the requested size.
func TestRanges(t *testing.T) {
	for _, n := range []int{0, 1, 6, 7, 8, 100} {
		ran := make([]atomic.Int32, n)
		err := Ranges(t.Context(), n, 7, func(_, from, to int) error {
			if from%7 != 0 || to-from != min(7, n-from) {
				t.Errorf("n=%d: range [%d, %d)", n, from, to)
			}
			for i := from; i < to; i++ {
				ran[i].Add(1)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range ran {
			if ran[i].Load() != 1 {
				t.Errorf("n=%d: index %d was covered %d times", n, i, ran[i].Load())
			}
		}
	}
}

func TestDoReturnsAnError(t *testing.T) {
	boom := errors.New("boom")
	var ran atomic.Int32
	err := Do(t.Context(), 1_000_000, func(_, i int) error {
		ran.Add(1)
		if i == 10 {
			return boom
		}
		return nil
	})
	if err != boom {
		t.Errorf("error is %v, want %v", err, boom)
	}
	if ran.Load() == 1_000_000 {
		t.Error("all tasks ran despite the error")
	}
}

func TestDoStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Do(ctx, 1_000_000, func(_, i int) error {
		if i == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want %v", err, context.Canceled)
	}
}

// If a file shrinks while it is mapped, Do must return an error. Without Guard
// the process would die of SIGBUS.
func TestTruncatedMap(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows does not let a mapped file be truncated")
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := mmap.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	sum := 0
	err = Do(t.Context(), 256, func(_, i int) error {
		sum += int(f.Data[i*4096])
		return nil
	})
	if !errors.Is(err, ErrFault) {
		t.Errorf("error is %v, want %v", err, ErrFault)
	}
}

func TestGuardLetsOtherPanicsPass(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Guard recovered from a programming error")
		}
	}()
	_ = Guard(func() error { var s []int; _ = s[len(s)]; return nil })
}
