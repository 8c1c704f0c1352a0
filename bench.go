package thimble

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/generate"
	"thimble/internal/memory"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/speed"
	"thimble/internal/texts"
	"thimble/internal/transformer"
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
	Integers   bool   // round activations to int8 if the model has layers that are stored as integers
	LlamaCpp   string // folder of llama.cpp's programs, to time in turn with the model; "" for none
}

// Bench measures the speed of a model on this machine.
func Bench(ctx context.Context, o BenchOptions) (*verify.Speed, error) {
	for i, n := range []int{o.Prefill, o.Decode, o.Runs} {
		if n < 1 || n > model.MaxLength {
			return nil, fmt.Errorf("bench: --%s %d is out of range, want 1 to %d", []string{"prefill", "decode", "runs"}[i], n, model.MaxLength)
		}
	}
	peer, done, err := o.peer(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	start := time.Now()
	m, err := openVerified(ctx, o.Model, o.Set, nil)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if o.FitContext {
		o.Prefill = max(1, min(o.Prefill, m.Spec.Context-o.Decode))
	}
	if err := texts.CheckContext(m, o.Prefill+o.Decode, "use a smaller --prefill or --decode"); err != nil {
		return nil, err
	}
	o.Arithmetic = arithmeticFor(m, o.Arithmetic, o.Integers)
	plain, err := generate.Plain(ctx, m)
	if err != nil {
		return nil, err
	}
	g, err := generate.New(plain, o.Arithmetic)
	if err != nil {
		return nil, err
	}
	load := time.Since(start).Seconds()
	roof, err := speed.MeasureRoof(ctx)
	if err != nil {
		return nil, err
	}
	work := speed.WorkOf(m)
	s := &verify.Speed{
		Path: o.Model, Cores: parallel.Workers(), Prompt: o.Prefill, Steps: o.Decode, FLOP: work.FLOP, Bytes: work.Bytes,
		Read: o.cacheRead(&m.Spec), Load: load, Roof: &roof, Arithmetic: verify.Describe(o.Arithmetic),
	}
	peakKnown := false // the peak is that of the timed runs
	for run := range o.Runs + 1 {
		r, err := speed.Time(ctx, g, o.Prefill, o.Decode)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(o.Model), err)
		}
		if run == 0 {
			peakKnown = memory.ResetPeak()
			continue
		}
		s.Add(r)
		if peer != nil {
			if r.Prefill, r.Decode, err = peer.Run(ctx, o.Prefill, o.Decode); err != nil {
				return nil, err
			}
			s.AddPeer(r)
		}
	}
	if s.Cache = g.CacheBytes(); peakKnown {
		s.Memory = memory.Peak()
	}
	info, err := identify(ctx, m, nil)
	s.SHA256 = info.SHA256
	return s, err
}

// cacheRead returns the bytes of the cache that a token after the prompt reads on average.
func (o *BenchOptions) cacheRead(s *model.Spec) int64 {
	sum := int64(0)
	for i := range o.Decode {
		sum += transformer.ReadBytes(s, o.Arithmetic, o.Prefill+i)
	}
	return sum / int64(o.Decode)
}

// peer returns llama.cpp's benchmark of the model, which a temporary GGUF file holds, or
// nil. done removes the file.
func (o *BenchOptions) peer(ctx context.Context) (peer *speed.LlamaBench, done func(), err error) {
	if o.LlamaCpp == "" {
		return nil, func() {}, nil
	}
	dir, done, err := atomicfile.MkdirTemp(os.TempDir())
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(dir, "model.gguf")
	if peer, err = speed.FindLlamaBench(o.LlamaCpp, file, parallel.Workers()); err == nil {
		_, err = Export(ctx, ExportOptions{Model: o.Model, Set: o.Set, Output: file})
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return peer, done, nil
}
