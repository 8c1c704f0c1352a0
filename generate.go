package thimble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/generate"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/texts"
	"thimble/internal/tokenizer"
	"thimble/internal/transformer"
	"thimble/verify"
)

// GenerateOptions specify the prompt that Generate continues, and how.
type GenerateOptions struct {
	Model       string   // path
	Set         []string // config overrides for a checkpoint
	Prompt      string   // used as it is, without a chat template
	PromptFile  string   // path of a file with the prompt, instead of Prompt
	Tokens      int      // number of tokens to generate
	FitContext  bool     // stop at the end of the model's context instead of failing
	Temperature float64  // 0 always takes the most likely token
	Seed        uint64   // of the sampler, if Temperature is not 0
	Arithmetic  Arithmetic
	Integers    bool // round activations to int8 if the model has layers that are stored as integers

	// Stream, if not nil, receives the prompt and then the text as it is generated, in
	// whole characters.
	Stream io.Writer
}

// A Continuation is a prompt and the text that a model generated after it.
type Continuation struct {
	Path      string `json:"path"`
	Prompt    string `json:"prompt"`
	Text      string `json:"text"` // after the prompt; bytes that are not UTF-8 become U+FFFD
	PromptIDs []int  `json:"prompt_ids"`
	IDs       []int  `json:"ids"`

	Arithmetic verify.ArithmeticInfo `json:"arithmetic"`
}

// Generate continues a prompt with text from a model. The same options give the same
// text on every machine.
func Generate(ctx context.Context, o GenerateOptions) (*Continuation, error) {
	if o.Tokens < 0 || o.Tokens > model.MaxLength {
		return nil, fmt.Errorf("run: -n %d is out of range, want 0 to %d", o.Tokens, model.MaxLength)
	}
	if !(o.Temperature >= 0 && o.Temperature <= 1e6) {
		return nil, fmt.Errorf("run: --temperature %g is out of range, want 0 to 1e6; 0.8 is usual", o.Temperature)
	}
	m, err := Open(o.Model, o.Set...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if o.PromptFile != "" {
		if o.Prompt, err = ReadText(ctx, "-p", o.PromptFile, MaxText); err != nil {
			return nil, err
		}
	}
	o.Arithmetic = arithmeticFor(m, o.Arithmetic, o.Integers)
	c := &Continuation{Path: o.Model, Prompt: o.Prompt, Arithmetic: verify.Describe(o.Arithmetic)}
	var tok *tokenizer.Tokenizer
	var plain *model.Model
	err = parallel.Both(ctx, func() (err error) {
		if tok, _, err = texts.Tokenizer(m); err != nil {
			return err
		}
		return c.encode(ctx, m, tok, &o)
	}, func(ctx context.Context) (err error) {
		plain, err = generate.Ready(ctx, m, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	g, err := generate.New(plain, o.Arithmetic)
	if err != nil {
		return nil, err
	}
	if err := c.generate(ctx, g, tok, &o); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(o.Model), err)
	}
	return c, nil
}

// encode sets the tokens of the prompt, and checks that the model has a context for them and
// for those to generate.
func (c *Continuation) encode(ctx context.Context, m *model.Model, tok *tokenizer.Tokenizer, o *GenerateOptions) (err error) {
	if c.PromptIDs, err = promptIDs(ctx, tok, &m.Spec, o.Prompt); err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(o.Model), err)
	}
	if o.FitContext {
		o.Tokens = max(0, min(o.Tokens, m.Spec.Context-len(c.PromptIDs)))
	}
	return texts.CheckContext(m, len(c.PromptIDs)+o.Tokens, "use a shorter prompt or a smaller -n")
}

// arithmeticFor returns a. If integers is set and m has layers that are stored as integers,
// their inputs are rounded to int8.
func arithmeticFor(m *model.Model, a Arithmetic, integers bool) Arithmetic {
	a.Activations.Int8 = a.Activations.Int8 || integers && transformer.HasIntegers(m)
	return a
}

// generate continues the prompt and streams the text.
func (c *Continuation) generate(ctx context.Context, g *generate.Generator, tok *tokenizer.Tokenizer, o *GenerateOptions) (err error) {
	var text strings.Builder
	w := io.Writer(&text)
	if o.Stream != nil {
		if _, err := io.WriteString(o.Stream, c.Prompt); err != nil {
			return err
		}
		w = io.MultiWriter(&text, o.Stream)
	}
	stream := tok.Stream(c.PromptIDs)
	sampler := generate.NewSampler(generate.Sampling{Generation: model.Generation{Temperature: o.Temperature}, Seed: o.Seed})
	c.IDs, err = g.Continue(ctx, c.PromptIDs, o.Tokens, sampler.Pick, func(id int) (bool, error) {
		_, err := w.Write(stream.Add(id))
		return true, err
	})
	if err != nil {
		return err
	}
	_, err = w.Write(stream.Flush())
	c.Text = text.String()
	return err
}

// promptIDs returns the tokens of a prompt, or for an empty one the token that starts a
// text.
func promptIDs(ctx context.Context, tok *tokenizer.Tokenizer, s *model.Spec, text string) ([]int, error) {
	ids, err := Encode(ctx, tok, text, true)
	if err == nil && len(ids) == 0 {
		if s.BOS < 0 {
			return nil, errors.New("the prompt is empty and the model has no token that starts a text")
		}
		ids = []int{s.BOS}
	}
	return ids, err
}
