package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
	"thimble/verify"
)

func benchCommand() *cli.Command {
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure how fast this machine runs a model",
		UsageText: "thimble bench MODEL [--prefill 512] [--decode 64] [--runs 3]",
		Description: "Times a prompt fed at once and tokens fed one by one, in float32 arithmetic on\n" +
			"GOMAXPROCS cores, after one run that is not counted, and prints the median.\n" +
			"Compare two files, or two tools, in the same minute: machines drift.\n\n" +
			"--activations int8 is computed in float32, too, to the bits of integer kernels but at\n" +
			"none of their speed. --kv shows how little memory a cache takes.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "prefill", Value: 512, Usage: "prompt of `N` tokens"},
			&cli.IntFlag{Name: "decode", Value: 64, Usage: "then `N` tokens one by one"},
			&cli.IntFlag{Name: "runs", Value: 3, Usage: "counted `RUNS`"},
			activationsFlag, kvFlag, setFlag, jsonFlag,
		},
		Action: benchAction,
	}
}

// A speed is the report of bench.
type speed struct{ verify.Speed }

func (s *speed) String() string {
	p, d := verify.Median(s.Prefill), verify.Median(s.Decode)
	return fmt.Sprintf("prefill %4d tokens  %8.1f tokens/s  %6.1f GFLOP/s in linear layers\ndecode  %4d tokens  %8.1f tokens/s  on %d cores\n"+
		"cache   %4d tokens  %8.2f MB        %v\n%s",
		s.Prompt, p, p*s.FLOP/1e9, s.Steps, d, s.Cores, s.Prompt+s.Steps, float64(s.Cache)/1e6, s.Arithmetic, s.memory())
}

func (s *speed) memory() string {
	if s.Memory == 0 {
		return ""
	}
	return fmt.Sprintf("memory              %8.1f MB        most that was resident, the mapped file included\n", float64(s.Memory)/1e6)
}

func benchAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	s := &speed{verify.Speed{Path: path, Cores: parallel.Workers(), Prompt: c.Int("prefill"), Steps: c.Int("decode")}}
	runs := c.Int("runs")
	for _, flag := range []string{"prefill", "decode", "runs"} {
		if n := c.Int(flag); n < 1 || n > model.MaxLength {
			return fmt.Errorf("bench: --%s %d is out of range, want 1 to %d", flag, n, model.MaxLength)
		}
	}
	arithmetic, err := arithmeticOf(c)
	if err != nil {
		return err
	}
	s.Arithmetic = verify.Describe(arithmetic)
	m, err := openSound(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	if !c.IsSet("prefill") {
		s.Prompt = max(1, min(s.Prompt, m.Spec.Context-s.Steps))
	}
	if err := checkContext(m, s.Prompt+s.Steps, "use a smaller --prefill or --decode"); err != nil {
		return err
	}
	d, err := transformer.NewWith(m, arithmetic)
	if err != nil {
		return err
	}
	for _, slot := range m.Spec.Slots() {
		if slot.Role == model.Linear {
			s.FLOP += 2 * float64(slot.Rows) * float64(slot.Cols) * float64(len(m.Spec.Schedule)) / float64(m.Spec.Blocks)
		}
	}
	timed := false // the peak is of the counted runs
	for run := range runs + 1 {
		p, q, err := s.once(c.Context, d, &m.Spec)
		if err != nil {
			return fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
		if run == 0 {
			timed = resetPeak()
			continue
		}
		s.Prefill, s.Decode = append(s.Prefill, p), append(s.Decode, q)
	}
	if timed {
		s.Memory = peakMemory()
	}
	info, err := identity(c.Context, m, nil)
	if err != nil {
		return err
	}
	s.SHA256 = info.SHA256
	return print(c, s)
}

// once returns the speed of one prefill, with the logits of its last position,
// and of the tokens after it, with the logits of each.
func (s *speed) once(ctx context.Context, d *transformer.Decoder, spec *model.Spec) (prefill, decode float64, err error) {
	cache, err := d.NewCache(s.Prompt + s.Steps)
	if err != nil {
		return 0, 0, err
	}
	logits := make([]float32, spec.Vocab)
	feed := func(ids []int) error {
		h, err := d.Forward(ctx, cache, ids)
		if err != nil {
			return err
		}
		return h.Logits(ctx, logits, h.Len()-1, 1)
	}
	prompt := make([]int, s.Prompt)
	for i := range prompt {
		prompt[i] = i * 7919 % spec.Vocab
	}
	begun := time.Now()
	if err := feed(prompt); err != nil {
		return 0, 0, err
	}
	prefill = float64(s.Prompt) / time.Since(begun).Seconds()
	begun = time.Now()
	for i := range s.Steps {
		if err := feed(prompt[i%s.Prompt:][:1]); err != nil {
			return 0, 0, err
		}
	}
	decode = float64(s.Steps) / time.Since(begun).Seconds()
	s.Cache = cache.Bytes()
	return prefill, decode, nil
}
