package parallel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A crew is a goroutine that outlives calls of Do, because starting or waking one takes
// longer than a small task. After a task it looks for the next one for a short time
// before it sleeps: the layers of a model follow each other within microseconds.
type crew struct {
	next   atomic.Pointer[task]
	worker int // its number in next
	asleep atomic.Bool
	wake   chan struct{}

	patience int // how often it looks before it sleeps
}

// A task is one call of Do.
type task struct {
	work   func(worker int)
	others atomic.Int32 // crews that have not finished
	done   chan struct{}
}

var tasks = sync.Pool{New: func() any { return &task{done: make(chan struct{}, 1)} }}

// idle holds the crews that have no task.
var idle struct {
	sync.Mutex
	crews []*crew
}

// share calls work(0) on this goroutine and work(1) to work(workers-1) on crews, and
// returns when all have returned.
func share(workers int, work func(worker int)) {
	if workers <= 1 {
		work(0)
		return
	}
	t := tasks.Get().(*task)
	t.work = work
	t.others.Store(int32(workers - 1))
	for worker := 1; worker < workers; worker++ {
		take().start(t, worker)
	}
	work(0)
	for range looks {
		if t.others.Load() == 0 {
			break
		}
	}
	<-t.done
	t.work = nil
	tasks.Put(t)
}

// take returns an idle crew, or a new one.
func take() *crew {
	idle.Lock()
	defer idle.Unlock()
	if n := len(idle.crews); n > 0 {
		c := idle.crews[n-1]
		idle.crews = idle.crews[:n-1]
		return c
	}
	c := &crew{wake: make(chan struct{}, 1), patience: looks}
	go c.run()
	return c
}

func (c *crew) start(t *task, worker int) {
	c.worker = worker
	c.next.Store(t)
	if c.asleep.CompareAndSwap(true, false) {
		c.wake <- struct{}{}
	}
}

// run works on one task after another. It ends when there are more idle crews than
// GOMAXPROCS.
func (c *crew) run() {
	for {
		t := c.await()
		c.next.Store(nil)
		t.work(c.worker)
		stay := c.rest()
		if t.others.Add(-1) == 0 {
			t.done <- struct{}{}
		}
		if !stay {
			return
		}
	}
}

// await returns the next task.
func (c *crew) await() *task {
	for {
		for range c.patience {
			if t := c.next.Load(); t != nil {
				return t
			}
		}
		c.asleep.Store(true)
		if c.next.Load() != nil && c.asleep.CompareAndSwap(true, false) {
			continue
		}
		slept := time.Now()
		<-c.wake
		// After a long sleep, looking was in vain, and took a core from others.
		c.patience = looks
		if time.Since(slept) > soon {
			c.patience = looks / 100
		}
	}
}

// soon is a time for which it would have been better to keep looking.
const soon = time.Millisecond

// rest puts c among the idle crews, and returns false if there are enough of them.
func (c *crew) rest() bool {
	idle.Lock()
	defer idle.Unlock()
	if len(idle.crews) >= runtime.GOMAXPROCS(0) {
		return false
	}
	idle.crews = append(idle.crews, c)
	return true
}
