package quantize

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"thimble/internal/journal"
)

// A run without texts rounds each matrix by itself, so several machines may share it. Each
// rounds some of the matrices and appends them to a journal, a part; Merge then carries out the
// plan with the matrices of all parts. A record is the number of the tensor in the plan, in 4
// bytes, and then codes, scales and minimums.

// tensorBytes is the length of the tensor's number in a record.
const tensorBytes = 4

// Divisible returns the tensors of p that a run without texts rounds, and the cost of each.
// The others are copied, which Merge does.
func (p *Plan) Divisible() (tensors []int, costs []int64) {
	for i := range p.Tensors {
		if e := &p.Tensors[i]; e.rounds() {
			tensors, costs = append(tensors, i), append(costs, int64(e.Rows)*int64(e.Cols))
		}
	}
	return tensors, costs
}

// RunPart rounds some tensors of p in their order, and appends each to j. It continues a part
// that has some of them. progress may be nil; it is called with weights.
func RunPart(ctx context.Context, m *Model, p *Plan, tensors []int, j *Journal, progress func(done, total int64)) error {
	finished, err := p.ReadPart(j, tensors)
	if err != nil {
		return err
	}
	var done, total int64
	for i, t := range tensors {
		n := int64(p.Tensors[t].Rows) * int64(p.Tensors[t].Cols)
		if total += n; i < len(finished) {
			done += n
		}
	}
	if len(finished) == len(tensors) {
		return nil
	}
	inputs, err := p.guesses(ctx, m)
	if err != nil {
		return err
	}
	for _, t := range tensors[len(finished):] {
		e := &p.Tensors[t]
		out, err := p.store(ctx, m.Tensors[e.Name], *e, inputs[e.Name])
		m.Tensors[e.Name].Release()
		if err != nil {
			return m.InTensor(e.Name, err)
		}
		planes := out.Planes()
		content := append([][]byte{binary.LittleEndian.AppendUint32(nil, uint32(t))}, planes[:]...)
		if err := j.Append(content...); err != nil {
			return err
		}
		if done += int64(e.Rows) * int64(e.Cols); progress != nil {
			progress(done, total)
		}
	}
	return nil
}

// ReadPart returns the matrices of a part, which must be the first of tensors. They alias j.
func (p *Plan) ReadPart(j *journal.Journal, tensors []int) (matrices []*Matrix, err error) {
	for i, content := range j.Records() {
		if i == len(tensors) || len(content) < tensorBytes || binary.LittleEndian.Uint32(content) != uint32(tensors[i]) {
			return nil, corruptRecord(j, i, "is not a tensor of this part")
		}
		e := &p.Tensors[tensors[i]]
		out, rest, err := e.cut(content[tensorBytes:])
		if err == nil && len(rest) > 0 {
			err = fmt.Errorf("is longer than %s", e.Name)
		}
		if err != nil {
			return nil, corruptRecord(j, i, "%v", err)
		}
		matrices = append(matrices, out)
	}
	return matrices, nil
}

// Merge carries out p on m with the tensors that parts have rounded, by their numbers in p. It
// writes what Run would write. progress is as in Run.
func Merge(ctx context.Context, m *Model, p *Plan, rounded map[int]*Matrix, sink Sink, progress func(weights int64)) error {
	done := int64(0)
	p.small = nil
	for i := range p.Tensors {
		e := &p.Tensors[i]
		src, out := m.Tensors[e.Name], rounded[i]
		var err error
		switch {
		case out != nil:
		case e.rounds():
			err = errors.New("no part has it")
		default:
			out, err = p.store(ctx, src, *e, nil)
		}
		if err == nil {
			p.examine(e, src, out)
			err = sink.Write(out)
		}
		src.Release()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return m.InTensor(e.Name, err)
		}
		if done += int64(e.Rows) * int64(e.Cols); progress != nil {
			progress(done)
		}
	}
	return nil
}
