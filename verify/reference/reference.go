// Package reference provides the next-token distributions of a reference model, with
// which the model under test is compared. They are computed when needed or read from a
// file.
//
// A Reference has a Distribution for each prompt, which compares single positions with
// the logits of the model under test. It keeps all logits (FromScorer, or a file with
// the tensors prompt.N.logits), or the largest logits and a sample of the others (a
// compact file), or the quantized log-probabilities that llama-perplexity writes for
// --kl-divergence-base. Open reads these files; Write and WriteKLDBase write them.
//
// docs/NUMERICS.md defines the files and the metrics that each of them allows.
package reference

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify/metric"
)

type (
	// Model is the type that convert, quantize and format open and return.
	Model = model.Model

	// Arithmetic sets the rounding of activations, keys and values in a run. The zero
	// value rounds nothing and runs in float32.
	Arithmetic = transformer.Arithmetic
)

// A Reference provides the distributions with which a model is compared.
type Reference interface {
	// Form describes what the reference keeps of a position.
	Form() Form

	// Distribution returns the distributions of the prompt ids. They are valid until
	// the next call of Distribution.
	Distribution(ctx context.Context, ids []int) (Distribution, error)
}

// A Form describes what a Reference keeps of a position.
type Form struct {
	Vocab   int            // number of logits of a position; 0 for a compact file, which does not record it
	TopK    int            // number of largest logits that are kept; 0 if all are
	Sampled bool           // a sample of the other logits is kept too
	Stored  metric.Storage // the type of all logits, if that is less than float32
	Note    string         // a remark for the reader of a comparison, or ""
}

// A Distribution holds the probabilities that the reference assigns to the next token at
// each position of one prompt.
type Distribution interface {
	// Load brings the positions [from, from+n) into memory.
	Load(ctx context.Context, from, n int) error

	// Compare scores position t, which must be loaded. got holds the model's logits
	// there, (Vocab); next is the token that follows, or -1 if there is none. Several
	// goroutines may call Compare, each with a Scratch of its own.
	Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error)
}

// Scratch is memory that Compare reuses. The zero value is ready for use.
type Scratch struct {
	exp  []float64 // (Vocab)
	tail []float32 // (Vocab), the model's logits of the tokens that a compact reference leaves out
	kept []bool    // (Vocab)
	ys   []float64 // of sampled tokens, see metric.Sample
}

// FromScorer returns the Reference that keeps all logits of s.
func FromScorer(s Scorer) Reference { return &scorerReference{Scorer: s} }

type scorerReference struct {
	Scorer
	rows []float32
}

func (r *scorerReference) Form() Form { return Form{Vocab: r.Vocab()} }

func (r *scorerReference) Distribution(ctx context.Context, ids []int) (Distribution, error) {
	p, err := r.Score(ctx, ids)
	if err != nil {
		return nil, err
	}
	return &full{Prediction: p, vocab: r.Vocab(), rows: &r.rows}, nil
}

// full is a Distribution with all logits.
type full struct {
	Prediction
	vocab  int
	stored metric.Storage
	rows   *[]float32 // the logits that are loaded, (positions, vocab); shared by all prompts of a reference
	from   int        // the first position that is loaded
}

func (f *full) Load(ctx context.Context, from, n int) error {
	f.from, *f.rows = from, grow(*f.rows, n*f.vocab)
	return f.Logits(ctx, *f.rows, from, n)
}

func (f *full) Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error) {
	s.exp = grow(s.exp, f.vocab)
	return metric.Compare((*f.rows)[(t-f.from)*f.vocab:][:f.vocab], got, next, s.exp, f.stored)
}

// grow returns a slice of length n, s if it is large enough. It does not keep the
// elements.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
