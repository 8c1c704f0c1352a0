package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
	"thimble/verify"
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
			"   thimble run SmolLM2-135M -p 'Once upon a time' -n 200 --temperature 0.8\n" +
			"   thimble run smol.thimble -p 'Once upon a time' --activations int8 --kv k8v4",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "the `TEXT` to continue (- reads standard input)"},
			&cli.IntFlag{Name: "tokens", Aliases: []string{"n"}, Value: 64, Usage: "stop after `N` tokens"},
			&cli.Float64Flag{Name: "temperature", Usage: "draw at temperature `T`; 0 takes the most likely token"},
			&cli.Uint64Flag{Name: "seed", Usage: "seed of the draw, an unsigned `NUMBER`"},
			activationsFlag, kvFlag, setFlag, jsonFlag,
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
	n, temperature := c.Int("tokens"), c.Float64("temperature")
	if n < 0 || n > model.MaxLength {
		return fmt.Errorf("run: -n %d is out of range, want 0 to %d", n, model.MaxLength)
	}
	if !(temperature >= 0 && temperature <= 1e6) {
		return fmt.Errorf("run: --temperature %g is out of range, want 0 to 1e6; 0.8 is usual", temperature)
	}
	arithmetic, err := arithmeticOf(c)
	if err != nil {
		return err
	}
	m, err := openSound(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	prompt := c.String("prompt")
	if prompt == "-" {
		if prompt, err = readText(c.Context, "-", maxText); err != nil {
			return err
		}
	}
	g, err := newGenerator(m, arithmetic, temperature, c.Uint64("seed"))
	if err != nil {
		return err
	}
	ids, err := g.prompt(c.Context, prompt)
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if !c.IsSet("tokens") {
		n = max(0, min(n, m.Spec.Context-len(ids)))
	}
	if err := checkContext(m, len(ids)+n, "use a shorter prompt or a smaller -n"); err != nil {
		return err
	}
	if c.Bool(jsonFlag.Name) {
		var text strings.Builder
		chosen, err := g.run(c.Context, ids, n, &text)
		if err != nil {
			return fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
		return print(c, &continuation{path, prompt, text.String(), ids, chosen, verify.Describe(arithmetic)})
	}
	if _, err := io.WriteString(c.App.Writer, prompt); err != nil {
		return err
	}
	w := c.App.Writer
	if isTerminal(w) {
		w = harmless{w}
	}
	_, err = g.run(c.Context, ids, n, w)
	fmt.Fprintln(c.App.Writer) // an error, too, is to start on its own line
	if err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	return nil
}

// A continuation is the report of run.
type continuation struct {
	Path      string `json:"path"`
	Prompt    string `json:"prompt"`
	Text      string `json:"text"` // what follows the prompt; bytes that are not UTF-8 become U+FFFD
	PromptIDs []int  `json:"prompt_ids"`
	IDs       []int  `json:"ids"`

	Arithmetic verify.ArithmeticInfo `json:"arithmetic"`
}

func (r *continuation) String() string { return r.Prompt + r.Text }

// A generator continues prompts.
type generator struct {
	decoder     *transformer.Decoder
	tok         *tokenizer.Tokenizer
	spec        *model.Spec
	temperature float64
	random      *rand.Rand
}

func newGenerator(m *model.Model, a verify.Arithmetic, temperature float64, seed uint64) (*generator, error) {
	tok, err := openTokenizer(m)
	if err != nil {
		return nil, err
	}
	d, err := transformer.NewWith(m, a)
	return &generator{d, tok, &m.Spec, temperature, rand.New(rand.NewPCG(seed, 0))}, err
}

// prompt returns the tokens of text, or the one that starts every text.
func (g *generator) prompt(ctx context.Context, text string) ([]int, error) {
	ids, err := encode(ctx, g.tok, text, true)
	if err == nil && len(ids) == 0 {
		if g.spec.BOS < 0 {
			return nil, errors.New("the prompt is empty and the model has no token that starts a text")
		}
		ids = []int{g.spec.BOS}
	}
	return ids, err
}

// run continues ids by up to n tokens, which it returns, and writes their text
// to w as they are chosen, in whole characters.
func (g *generator) run(ctx context.Context, ids []int, n int, w io.Writer) (chosen []int, err error) {
	cache, err := g.decoder.NewCache(len(ids) + n)
	if err != nil {
		return nil, err
	}
	chosen = []int{}
	logits := make([]float32, g.spec.Vocab)
	text := g.tok.Stream(ids)
	for range n {
		hidden, err := g.decoder.Forward(ctx, cache, ids)
		if err != nil {
			return nil, err
		}
		if err := hidden.Logits(ctx, logits, hidden.Len()-1, 1); err != nil {
			return nil, err
		}
		id := g.choose(logits)
		if slices.Contains(g.spec.EOS, id) {
			break
		}
		if _, err := w.Write(text.Add(id)); err != nil {
			return nil, err
		}
		chosen, ids = append(chosen, id), []int{id}
	}
	_, err = w.Write(text.Flush())
	return chosen, err
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
