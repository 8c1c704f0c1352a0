package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/urfave/cli/v2"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "continue a prompt with text from a model",
		UsageText: "thimble run MODEL -p PROMPT [-n 64] [--temperature T --seed S]",
		Description: "Takes the most likely token each time; with --temperature it draws from the model's\n" +
			"distribution, the same text for the same seed on any machine. The prompt is fed as it\n" +
			"is, without a chat template.\n\n" +
			"Examples:\n" +
			"   thimble run smol.thimble -p 'The capital of France is'\n" +
			"   thimble run SmolLM2-135M -p 'Once upon a time' -n 200 --temperature 0.8 --seed 7",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "the `TEXT` to continue (- reads standard input)"},
			&cli.IntFlag{Name: "tokens", Aliases: []string{"n"}, Value: 64, Usage: "stop after `N` tokens"},
			&cli.Float64Flag{Name: "temperature", Usage: "draw at temperature `T`; 0 takes the most likely token"},
			&cli.Uint64Flag{Name: "seed", Usage: "seed of the draw"},
			setFlag,
		},
		Action: runAction,
	}
}

func runAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	if !c.IsSet("prompt") {
		return errors.New("run needs a prompt: -p TEXT, or -p - to read it from standard input")
	}
	if c.Int("tokens") < 0 || !(c.Float64("temperature") >= 0) {
		return errors.New("run: neither -n nor --temperature can be negative")
	}
	m, err := openModel(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	prompt := c.String("prompt")
	if prompt == "-" {
		if prompt, err = readText("-"); err != nil {
			return err
		}
	}
	g, err := newGenerator(m, c.Float64("temperature"), c.Uint64("seed"))
	if err != nil {
		return err
	}
	if err := g.run(c.Context, prompt, c.Int("tokens"), c.App.Writer); err != nil {
		return fmt.Errorf("%s: %w", model.Printable(path), err)
	}
	_, err = fmt.Fprintln(c.App.Writer)
	return err
}

// A generator continues prompts.
type generator struct {
	decoder     *transformer.Decoder
	tok         *tokenizer.Tokenizer
	spec        *model.Spec
	temperature float64
	random      *rand.Rand
}

func newGenerator(m *model.Model, temperature float64, seed uint64) (*generator, error) {
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	d, err := transformer.New(m)
	return &generator{d, tok, &m.Spec, temperature, rand.New(rand.NewPCG(seed, 0))}, err
}

// run writes prompt and up to n further tokens to w as they are chosen. Text
// comes out in whole characters.
func (g *generator) run(ctx context.Context, prompt string, n int, w io.Writer) error {
	ids := g.tok.Encode(prompt, true)
	if len(ids) == 0 && g.spec.BOS >= 0 {
		ids = []int{g.spec.BOS}
	}
	if len(ids) == 0 {
		return errors.New("the prompt is empty and the model has no token that starts a text")
	}
	cache, err := g.decoder.NewCache(len(ids) + n)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, prompt); err != nil {
		return err
	}
	logits := make([]float32, g.spec.Vocab)
	var text tokenizer.Stream
	for range n {
		hidden, err := g.decoder.Forward(ctx, cache, ids)
		if err != nil {
			return err
		}
		if err := hidden.Logits(ctx, logits, hidden.Len()-1, 1); err != nil {
			return err
		}
		id := g.choose(logits)
		if slices.Contains(g.spec.EOS, id) {
			break
		}
		piece, _ := g.tok.Token(id)
		if _, err := w.Write(text.Add(piece)); err != nil {
			return err
		}
		ids = []int{id}
	}
	_, err = w.Write(text.Flush())
	return err
}

// choose picks the next token from its logits, which it overwrites.
func (g *generator) choose(logits []float32) int {
	best := 0
	for id, l := range logits {
		if l > logits[best] {
			best = id
		}
	}
	if g.temperature == 0 {
		return best
	}
	most := float64(logits[best])
	total := 0.0
	weight := make([]float64, len(logits))
	for id, l := range logits {
		weight[id] = kernel.Exp64((float64(l) - most) / g.temperature)
		total += weight[id]
	}
	at := float64(g.random.Float64() * total)
	for id, w := range weight {
		if at -= w; at < 0 {
			return id
		}
	}
	return best
}
