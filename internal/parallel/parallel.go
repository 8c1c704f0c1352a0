// Package parallel runs loops on all cores over data that may be mapped from a
// file.
package parallel

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// ErrFault reports that reading mapped memory failed: the file was truncated, or
// its disk returned an error, while it was in use.
var ErrFault = errors.New("the file changed or could not be read while it was in use; run again with a file that stays as it is")

// Workers is the number of goroutines that Do may use.
func Workers() int { return runtime.GOMAXPROCS(0) }

// Do calls f(worker, i) for every i in [0, n), on at most Workers goroutines.
// worker, in [0, Workers()), identifies the goroutine, so that f can keep scratch
// memory for each. Do starts no more calls after the first error or when ctx
// ends, and returns the error of the lowest i that failed. It turns a fault on
// mapped memory into ErrFault.
func Do(ctx context.Context, n int, f func(worker, i int) error) error {
	var (
		next   atomic.Int64
		stop   atomic.Bool
		mu     sync.Mutex
		first  error
		lowest = n
	)
	work := func(worker int) {
		for !stop.Load() {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			err := ctx.Err()
			if err == nil {
				err = Guard(func() error { return f(worker, i) })
			}
			if err != nil {
				stop.Store(true)
				mu.Lock()
				if i < lowest {
					first, lowest = err, i
				}
				mu.Unlock()
			}
		}
	}
	share(min(n, Workers()), work)
	return first
}

// Ranges divides [0, n) into ranges [from, to) of size elements, the last of which
// may be shorter, and calls f(worker, from, to) for each of them as Do does.
func Ranges(ctx context.Context, n, size int, f func(worker, from, to int) error) error {
	return Do(ctx, (n+size-1)/size, func(worker, i int) error {
		return f(worker, i*size, min(n, (i+1)*size))
	})
}

// Guard calls f and turns a fault on mapped memory into ErrFault. It does not
// recover from any other panic.
func Guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // the runtime.Error of a memory fault
			err = ErrFault
		default:
			panic(p)
		}
	}()
	return f()
}

// Await returns the result of f, or ctx's error as soon as ctx ends. f then keeps
// running, so it must not change anything that outlives the process.
func Await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
