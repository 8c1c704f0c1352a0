// Package parallel runs loops on all cores over data that may be mapped from a
// file.
package parallel

import (
	"cmp"
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
	l := loops.Get().(*loop)
	l.ctx, l.n, l.f, l.first, l.lowest = ctx, n, f, nil, n
	l.next.Store(0)
	l.stop.Store(false)
	share(min(n, Workers()), l.work)
	err := l.first
	l.ctx, l.f, l.first = nil, nil, nil
	loops.Put(l)
	return err
}

// A loop is one call of Do. Loops are used again, so that Do allocates nothing.
type loop struct {
	ctx  context.Context
	n    int
	f    func(worker, i int) error
	work func(worker int) // run

	next   atomic.Int64
	stop   atomic.Bool
	mu     sync.Mutex
	first  error // of iteration lowest
	lowest int
}

var loops = sync.Pool{New: func() any {
	l := new(loop)
	l.work = l.run
	return l
}}

// run runs iterations until there are none left.
func (l *loop) run(worker int) {
	for !l.stop.Load() {
		i := int(l.next.Add(1)) - 1
		if i >= l.n {
			return
		}
		err := l.ctx.Err()
		if err == nil {
			err = Guard(func() error { return l.f(worker, i) })
		}
		if err != nil {
			l.stop.Store(true)
			l.mu.Lock()
			if i < l.lowest {
				l.first, l.lowest = err, i
			}
			l.mu.Unlock()
		}
	}
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

// Both calls f and, on another goroutine, g, and returns when both have returned: f's error,
// or else g's. When f fails, the context of g ends.
func Both(ctx context.Context, f func() error, g func(ctx context.Context) error) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	second := make(chan error, 1)
	go func() { second <- g(ctx) }()
	err := f()
	if err != nil {
		stop()
	}
	return cmp.Or(err, <-second)
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
