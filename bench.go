package thimble

import (
	"context"
	"fmt"
	"time"

	"thimble/internal/defect"
	"thimble/internal/generate"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/verify"
)

// BenchOptions specify what Bench times.
type BenchOptions struct {
	Model      string   // path
	Set        []string // config overrides for a checkpoint
	Prefill    int      // tokens of a prompt fed at once
	Decode     int      // tokens fed one by one after it
	FitContext bool     // shorten the prompt to the model's context instead of failing
	Runs       int      // number of timed runs, after one warm-up
	Arithmetic Arithmetic
	Integers   bool // round activations to int8 if the model has layers that are stored as integers
}

// Bench measures the speed of a model on this machine.
func Bench(ctx context.Context, o BenchOptions) (*verify.Speed, error) {
	for _, n := range []struct {
		name  string
		value int
	}{{"prefill", o.Prefill}, {"decode", o.Decode}, {"runs", o.Runs}} {
		if n.value < 1 || n.value > model.MaxLength {
			return nil, fmt.Errorf("bench: --%s %d is out of range, want 1 to %d", n.name, n.value, model.MaxLength)
		}
	}
	m, err := openVerified(ctx, o.Model, o.Set, nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if o.FitContext {
		o.Prefill = max(1, min(o.Prefill, m.Spec.Context-o.Decode))
	}
	if err := checkContext(m, o.Prefill+o.Decode, "use a smaller --prefill or --decode"); err != nil {
		return nil, err
	}
	o.Arithmetic = arithmeticFor(m, o.Arithmetic, o.Integers)
	g, err := generate.New(m, o.Arithmetic)
	if err != nil {
		return nil, err
	}
	s := &verify.Speed{
		Path: o.Model, Cores: parallel.Workers(), Prompt: o.Prefill, Steps: o.Decode, FLOP: linearFLOP(&m.Spec), Arithmetic: verify.Describe(o.Arithmetic),
	}
	peakKnown := false // the peak is that of the timed runs
	for run := range o.Runs + 1 {
		prefill, decode, err := timeOnce(ctx, g, o.Prefill, o.Decode)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(o.Model), err)
		}
		if run == 0 {
			peakKnown = memory.ResetPeak()
			continue
		}
		s.Prefill, s.Decode = append(s.Prefill, prefill), append(s.Decode, decode)
	}
	if peakKnown {
		s.Memory = memory.Peak()
	}
	s.Cache = g.CacheBytes()
	info, err := identify(ctx, m, nil)
	s.SHA256 = info.SHA256
	return s, err
}

// linearFLOP returns the number of floating-point operations of the linear layers for
// one token.
func linearFLOP(s *model.Spec) (n float64) {
	for _, slot := range s.Slots() {
		if slot.Role == model.Linear {
			n += 2 * float64(slot.Rows) * float64(slot.Cols) * float64(len(s.Schedule)) / float64(s.Blocks)
		}
	}
	return n
}

// timeOnce returns the speed of a prompt, including the logits after its last token, and
// of the tokens after the prompt, including the logits after each, in tokens per second.
func timeOnce(ctx context.Context, g *generate.Generator, prompt, steps int) (prefill, decode float64, err error) {
	ids := make([]int, prompt+steps)
	for i := range ids {
		ids[i] = i % prompt * 7919 % g.Spec().Vocab
	}
	g.Reset()
	start := time.Now()
	if _, err := g.Logits(ctx, ids[:prompt]); err != nil {
		return 0, 0, err
	}
	prefill = float64(prompt) / time.Since(start).Seconds()
	start = time.Now()
	for i := range steps {
		if _, err := g.Logits(ctx, ids[:prompt+i+1]); err != nil {
			return 0, 0, err
		}
	}
	return prefill, float64(steps) / time.Since(start).Seconds(), nil
}
