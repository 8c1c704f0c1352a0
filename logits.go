package thimble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/spell"
	"thimble/internal/texts"
	"thimble/verify"
	"thimble/verify/reference"
)

// The forms of a reference file.
const (
	FormSafetensors = "safetensors" // full or compact logits
	FormKLDBase     = "kld-base"    // the format of llama-perplexity's --kl-divergence-base
)

// ReferenceForms are the forms that Logits writes, the default first.
var ReferenceForms = []string{FormSafetensors, FormKLDBase}

// LogitsOptions specify what Logits writes.
type LogitsOptions struct {
	Model     string   // path
	Set       []string // config overrides for a checkpoint
	Output    string   // path of the reference
	Overwrite bool
	Form      string   // "" is FormSafetensors
	Prompts   []string // texts to score, or
	Text      string   // path of a text to score in chunks
	Context   int      // tokens in a chunk; 0 is ChunkContext
	Chunks    int      // number of chunks to use, from the start; 0 is all
	TopK      int      // number of logits to keep per position; 0 keeps all

	Arithmetic Arithmetic
	Progress   Progress
}

// A LogitsResult describes the file that Logits wrote.
type LogitsResult struct {
	Output  string `json:"output"`
	Prompts int    `json:"prompts"`
	Tokens  int    `json:"tokens"`
}

func (r *LogitsResult) String() string {
	return fmt.Sprintf("wrote %s: prompts %d, tokens %d\n", defect.Printable(r.Output), r.Prompts, r.Tokens)
}

// Logits writes a reference file of a model's logits.
func Logits(ctx context.Context, o LogitsOptions) (*LogitsResult, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	m, err := Open(o.Model, o.Set...)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if err := checkOutput(o.Output, o.Overwrite, slices.Concat(m.Files, []string{o.Text})); err != nil {
		return nil, err
	}
	if v := m.Spec.Vocab; o.TopK < 0 || o.TopK > v {
		return nil, fmt.Errorf("--top-k %d is out of range, want 1 to the vocabulary of %d, or 0 for all", o.TopK, v)
	}
	prompts, err := o.prompts(ctx, m)
	if err != nil {
		return nil, err
	}
	if err := verifyWeights(ctx, m, o.Progress); err != nil {
		return nil, err
	}
	if err := o.write(ctx, m, prompts); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(o.Model), forceHint(err))
	}
	r := &LogitsResult{Output: o.Output, Prompts: len(prompts)}
	for _, p := range prompts {
		r.Tokens += len(p.IDs)
	}
	return r, nil
}

func (o *LogitsOptions) check() error {
	if o.Form == "" {
		o.Form = FormSafetensors
	}
	base := o.Form == FormKLDBase
	switch {
	case o.Output == "":
		return errors.New("logits needs -o FILE for the reference it writes")
	case (len(o.Prompts) > 0) == (o.Text != ""):
		return errors.New("logits needs prompts (-p TEXT) or a text (--text FILE), one of the two")
	case !slices.Contains(ReferenceForms, o.Form):
		return fmt.Errorf("--to %q is not one of %s%s", o.Form, strings.Join(ReferenceForms, ", "), spell.Suggest(o.Form, ReferenceForms))
	case base && o.Text == "":
		return errors.New("--to kld-base stores chunks of a text: give --text FILE")
	case base && o.TopK != 0:
		return errors.New("--to kld-base keeps all logits, in 16 bits; leave out --top-k")
	}
	return nil
}

func (o *LogitsOptions) write(ctx context.Context, m *model.Model, prompts []reference.Prompt) error {
	s, err := reference.NewScorer(m, o.Arithmetic, 0)
	if err != nil {
		return err
	}
	tokens := o.Progress.stage("logits", Tokens)
	w := reference.WriteOptions{
		TopK:     o.TopK,
		Metadata: map[string]string{"framework": Tool, "compute": verify.Describe(o.Arithmetic).String(), verify.SettingsKey: verify.SettingsOf(&m.Spec).Text()},
		Output:   atomicfile.Options{Overwrite: o.Overwrite, Inputs: m.Files},
		Progress: func(done, total int) { tokens(int64(done), int64(total)) },
	}
	if o.Form == FormKLDBase {
		return reference.WriteKLDBase(ctx, o.Output, s, prompts, w)
	}
	return reference.Write(ctx, o.Output, s, prompts, w)
}

// prompts returns the texts of Prompts or the chunks of Text.
func (o *LogitsOptions) prompts(ctx context.Context, m *model.Model) (prompts []reference.Prompt, err error) {
	if o.Text != "" {
		return textPrompts(ctx, m, o.Text, o.Context, o.Chunks)
	}
	tok, _, err := texts.Tokenizer(m)
	if err != nil {
		return nil, err
	}
	for i, text := range o.Prompts {
		ids, err := Encode(ctx, tok, text, true)
		switch {
		case err != nil:
			return nil, err
		case len(ids) == 0:
			return nil, fmt.Errorf("prompt %d is empty; there is nothing to score", i)
		}
		if err := texts.CheckContext(m, len(ids), fmt.Sprintf("shorten prompt %d", i)); err != nil {
			return nil, err
		}
		prompts = append(prompts, reference.Prompt{IDs: ids, From: 0, To: len(ids)})
	}
	return prompts, nil
}
