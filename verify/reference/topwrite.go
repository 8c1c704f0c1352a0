package reference

import (
	"context"
	"encoding/binary"
	"math"
	"slices"

	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/parallel"
	"thimble/verify/metric"
)

// tailStep is the step of the tails that Write keeps. It is the same at every position,
// so a position with a heavier tail keeps more tokens, which gives the smallest error of
// a mean for a given number of bytes. docs/NUMERICS.md has the figures.
const tailStep = 1. / 1024

// topEncoding keeps the rows of a compact file, prompt by prompt.
type topEncoding struct {
	k       int
	prompts []topTensors
	lanes   []topLane
}

// topTensors holds the tensors of a prompt, as far as they are encoded.
type topTensors struct {
	Prompt
	ids, logits, lse, next      []byte
	counts, tailIDs, tailLogits []byte
}

// A topLane is scratch of one worker.
type topLane struct {
	best []topLogit
	top  []bool // (Vocab)
}

type topLogit struct {
	logit float32
	id    int32
}

func newTopEncoding(k int) *topEncoding {
	return &topEncoding{k: k, lanes: make([]topLane, parallel.Workers())}
}

func (e *topEncoding) begin(p *Prompt) { e.prompts = append(e.prompts, topTensors{Prompt: *p}) }

// rows keeps the next n positions of the prompt that began last. It returns nothing to
// write yet, because a file begins with the lengths of all its tensors.
func (e *topEncoding) rows(ctx context.Context, rows []float32, n int) ([]byte, error) {
	p := &e.prompts[len(e.prompts)-1]
	at, vocab := len(p.lse)/4, len(rows)/n
	kept := make([][]topLogit, n)
	err := parallel.Do(ctx, n, func(worker, i int) error {
		kept[i] = e.lanes[worker].keep(e.k, rows[i*vocab:][:vocab], draws(len(e.prompts)-1, p.From+at+i))
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, all := range kept {
		row := rows[i*vocab:][:vocab]
		for _, x := range all[:e.k] {
			p.ids, p.logits = appendWord(p.ids, uint32(x.id)), appendFloat(p.logits, x.logit)
		}
		for _, x := range all[e.k:] {
			p.tailIDs, p.tailLogits = appendWord(p.tailIDs, uint32(x.id)), appendFloat(p.tailLogits, x.logit)
		}
		p.counts = appendWord(p.counts, uint32(len(all)-e.k))
		p.lse = appendFloat(p.lse, float32(logits.LogSumExp(row, nil)))
		next := float32(0)
		if t := p.From + at + i + 1; t < len(p.IDs) {
			next = row[p.IDs[t]]
		}
		p.next = appendFloat(p.next, next)
	}
	return nil, nil
}

// draws returns the random number generator of a position. It does not depend on
// anything that a model computes: otherwise an error could avoid the drawn tokens and go
// unnoticed.
func draws(prompt, position int) metric.SplitMix {
	seed := metric.SplitMix(prompt)
	return metric.SplitMix(seed.Next() + uint64(position))
}

// keep returns the k largest logits of a row in descending order, equal ones by
// ascending id, and after them a tail by ascending id.
func (l *topLane) keep(k int, row []float32, random metric.SplitMix) []topLogit {
	l.best = largest(l.best[:0], k, row)
	l.top = grow(l.top, len(row))
	clear(l.top)
	for _, x := range l.best {
		l.top[x.id] = true
	}
	all := slices.Clone(l.best)
	lse := logits.LogSumExp(row, nil)
	for id, v := range row {
		draw := float64(random.Next()>>11) / (1 << 53) // in [0, 1)
		if !l.top[id] && float64(draw*tailStep) < kernel.Exp64(float64(v)-lse) {
			all = append(all, topLogit{v, int32(id)})
		}
	}
	return all
}

// largest appends the k largest logits of a row to top, which is empty.
func largest(top []topLogit, k int, row []float32) []topLogit {
	for id, v := range row {
		if len(top) == k {
			if v <= top[k-1].logit {
				continue
			}
			top = top[:k-1]
		}
		at, _ := slices.BinarySearchFunc(top, v, func(e topLogit, v float32) int {
			if e.logit >= v {
				return -1
			}
			return 1
		})
		top = slices.Insert(top, at, topLogit{v, int32(id)})
	}
	return top
}

// tensors returns the tensors of all prompts, except those of ids and positions.
func (e *topEncoding) tensors() (all []storedTensor) {
	for n := range e.prompts {
		p := &e.prompts[n]
		rows, drawn := p.To-p.From, len(p.tailIDs)/4
		all = append(all,
			storedTensor{n, tensorTopIDs, "I32", []int{rows, e.k}, p.ids},
			storedTensor{n, tensorTopLogits, "F32", []int{rows, e.k}, p.logits},
			storedTensor{n, tensorLogSumExp, "F32", []int{rows}, p.lse},
			storedTensor{n, tensorNextLogits, "F32", []int{rows}, p.next},
			storedTensor{n, tensorTailCounts, "I32", []int{rows}, p.counts},
			storedTensor{n, tensorTailIDs, "I32", []int{drawn}, p.tailIDs},
			storedTensor{n, tensorTailLogits, "F32", []int{drawn}, p.tailLogits},
			storedTensor{n, tensorTailStep, "F32", []int{1}, appendFloat(nil, tailStep)},
		)
	}
	return all
}

func appendWord(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

func appendFloat(b []byte, v float32) []byte { return appendWord(b, math.Float32bits(v)) }
