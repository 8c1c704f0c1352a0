// Package reference holds what a model is compared with: the next-token
// distributions of another model, computed as needed or read from a file.
//
// A Reference has a Distribution for each prompt, which compares single positions
// with the logits of the model under test. It may keep all logits (FromScorer, or
// a file with the tensors prompt.N.logits), the largest ones and a sample of the
// others (a compact file), or what llama-perplexity writes for
// --kl-divergence-base. Open reads the files; Write and WriteKLDBase write them.
//
// docs/NUMERICS.md defines the files and what can be measured against each.
package reference

import (
	"context"

	"thimble/internal/model"
	"thimble/internal/transformer"
	"thimble/verify/metric"
)

type (
	// Model is what convert, quantize and format open and return.
	Model = model.Model

	// Arithmetic says what a run rounds: activations, keys and values. The zero
	// value rounds nothing: all is float32.
	Arithmetic = transformer.Arithmetic
)

// A Reference gives the distributions that a model is compared with.
type Reference interface {
	// Form says what the reference keeps of a position.
	Form() Form

	// Distribution returns what the reference knows of the prompt ids. It is valid
	// until the next call of Distribution.
	Distribution(ctx context.Context, ids []int) (Distribution, error)
}

// A Form says what a Reference keeps of a position.
type Form struct {
	Vocab   int    // logits of a position; 0 for a compact file, which does not say
	TopK    int    // only the TopK largest logits are kept; 0 if all are
	Sampled bool   // and a sample of the others
	Note    string // what a reader of a comparison must know, "" for nothing
}

// A Distribution gives, for each position of one prompt, the probabilities that
// the reference assigns to the next token.
type Distribution interface {
	// Load brings the positions [from, from+n) into memory.
	Load(ctx context.Context, from, n int) error

	// Compare scores position t, which Load has loaded, of a model whose logits
	// there are got, (Vocab). next is the token that follows, -1 for none. Several
	// goroutines may call it, each with a Scratch of its own.
	Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error)
}

// Scratch is memory that Compare uses again. The zero value is ready for use.
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

// full is a Distribution by all logits.
type full struct {
	Prediction
	vocab int
	rows  *[]float32 // the logits that are loaded, (positions, vocab); shared by all prompts of a reference
	from  int        // the first position that is loaded
}

func (f *full) Load(ctx context.Context, from, n int) error {
	f.from, *f.rows = from, grow(*f.rows, n*f.vocab)
	return f.Logits(ctx, *f.rows, from, n)
}

func (f *full) Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error) {
	s.exp = grow(s.exp, f.vocab)
	return metric.Compare((*f.rows)[(t-f.from)*f.vocab:][:f.vocab], got, next, s.exp)
}

// grow returns s with length n; its elements are not kept.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
