package speed

import (
	"context"
	"time"

	"thimble/internal/generate"
	"thimble/internal/model"
)

// Work is what a model needs for one token.
type Work struct {
	FLOP  float64 // operations of the linear layers, without the head
	Bytes int64   // weights that are read, with the head; a shared block counts each time it runs, an expert as often as it is used on average
}

// WorkOf returns the work of one token of m.
func WorkOf(m *model.Model) (w Work) {
	s := &m.Spec
	runs := float64(len(s.Schedule)) / float64(s.Blocks) // of a block, on average
	for _, slot := range s.Slots() {
		if slot.Role != model.Linear {
			continue
		}
		share := runs
		if _, kind, ok := model.SplitName(slot.Name); ok {
			if _, _, ok := model.SplitExpert(kind); ok {
				share *= float64(s.Experts.Used) / float64(s.Experts.Count)
			}
		}
		w.FLOP += 2 * float64(slot.Rows) * float64(slot.Cols) * share
		w.Bytes += int64(float64(m.Tensors[slot.Name].Bytes()) * share)
	}
	w.Bytes += m.Tensors[m.HeadName()].Bytes()
	return w
}

// A Run is one measurement.
type Run struct {
	Prefill float64 // tokens per second of a prompt, including the logits after its last token
	Decode  float64 // of the tokens after the prompt, including the logits after each
	Joules  float64 // per token of Decode, 0 if unknown
}

// Time runs a prompt and then steps tokens one by one.
func Time(ctx context.Context, g *generate.Generator, prompt, steps int) (r Run, err error) {
	ids := make([]int, prompt+steps)
	for i := range ids {
		ids[i] = i % prompt * 7919 % g.Spec().Vocab
	}
	g.Reset()
	start := time.Now()
	if _, err := g.Logits(ctx, ids[:prompt]); err != nil {
		return r, err
	}
	r.Prefill = float64(prompt) / time.Since(start).Seconds()
	meter, metered := StartMeter()
	start = time.Now()
	for i := range steps {
		if _, err := g.Logits(ctx, ids[:prompt+i+1]); err != nil {
			return r, err
		}
	}
	r.Decode = float64(steps) / time.Since(start).Seconds()
	if metered {
		r.Joules = meter.Joules() / float64(steps)
	}
	return r, nil
}
