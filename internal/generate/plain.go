package generate

import (
	"context"
	"maps"

	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// Ready finds damage in the tensors of m, and returns what Plain does. progress may be nil.
func Ready(ctx context.Context, m *model.Model, progress func(done, total int64)) (*model.Model, error) {
	if err := m.Ready(ctx, progress); err != nil {
		return nil, err
	}
	return Plain(ctx, m)
}

// Plain returns m with every matrix as kernels read it: those in another program's blocks, and
// those whose rows are made on demand, are copied to memory once, instead of again for each
// token. It returns m itself if there are none, or no memory for them: under a limit (see
// package memory), or if they take more than half of what the system has available.
func Plain(ctx context.Context, m *model.Model) (*model.Model, error) {
	most := memory.Available() / 2
	if memory.Bounded() {
		most = min(most, memory.Room()-memory.Live())
	}
	tensors := maps.Clone(m.Tensors)
	var copies []copied
	for _, slot := range m.Spec.Slots() {
		t := m.Tensors[slot.Name]
		if slot.Role == model.Vector || t.Plain() {
			continue
		}
		if most -= t.PlainBytes(); most < 0 {
			return m, nil
		}
		c := copied{from: t, to: t.PlainCopy()}
		copies, tensors[slot.Name] = append(copies, c), c.to
	}
	if len(copies) == 0 {
		return m, nil
	}
	readers := make([]qtensor.Reader, parallel.Workers())
	for _, c := range copies {
		const rows = 64 // of a task
		err := parallel.Ranges(ctx, c.from.Rows, rows, func(worker, from, to int) error {
			for r := from; r < to; r++ {
				readers[worker].CopyPlain(c.to, c.from, r)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		c.from.Release()
	}
	plain := *m
	plain.Tensors = tensors
	return &plain, nil
}

// A copied is a matrix and its copy.
type copied struct{ from, to *qtensor.Matrix }
