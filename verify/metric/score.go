package metric

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/logits"
)

// A Score holds the measurements at one position. Fields that do not apply are NaN.
type Score struct {
	KL       float64  // KL(reference || model) in nats; with a Sample an estimate, otherwise a lower bound
	Spare    float64  // how much smaller than KL the divergence may be
	Hidden   float64  // how much larger than KL the divergence may be
	Sample   *Sample  // nil if the reference keeps no sample
	Partial  bool     // the reference keeps only some logits
	Top1     bool     // the model's first choice has the reference's highest score
	Top5     bool     // Top1, or the reference's first choice is among the model's first five
	MaxAbs   float64  // largest |reference logit - model logit| among the logits that the reference keeps
	Cosine   float64  // of the two rows of logits
	NLL      float64  // -log p(next token) by the model, nats
	RefNLL   float64  // -log p(next token) by the reference, nats
	Rounding Rounding // of the reference's stored logits
	Logits   Moments  // of the reference's logits; of the model's if the reference does not keep all of its own

	Reference, Model Choice // the first choice of each, without its text
}

// A Choice is a token that may come next.
type Choice struct {
	ID         int    `json:"id"`
	Text       string `json:"text,omitempty"`
	PReference Value  `json:"p_reference"` // its probability by the reference; null if a compact reference left it out
	PModel     Value  `json:"p_model"`
}

// ChoiceOf returns token id with its probabilities according to two rows of logits.
func ChoiceOf(id int, reference, model []float32) Choice {
	p := func(row []float32) Value {
		return Value(kernel.Exp64(float64(row[id]) - logits.LogSumExp(row, nil)))
	}
	return Choice{ID: id, PReference: p(reference), PModel: p(model)}
}

// Unmeasured returns a Score in which nothing is measured.
func Unmeasured() Score {
	nan := math.NaN()
	return Score{KL: nan, Hidden: nan, MaxAbs: nan, Cosine: nan, NLL: nan, RefNLL: nan, Logits: Moments{mean: nan}}
}

// Predict scores a position without a reference. got holds the model's logits,
// (Vocab); next is the token that follows, or -1 if there is none.
func Predict(got []float32, next int) (Score, error) {
	s := Unmeasured()
	if err := logits.Finite("model", got); err != nil {
		return s, err
	}
	if next >= 0 {
		s.NLL = logits.LogSumExp(got, nil) - float64(got[next])
	}
	return s, nil
}

// Compare scores a position against all of the reference's logits. want and got
// are (Vocab), next is as in Predict, and exp is scratch of (Vocab). stored is the type in
// which the reference keeps its logits.
func Compare(want, got []float32, next int, exp []float64, stored Storage) (Score, error) {
	s := Unmeasured()
	if err := logits.Finite("reference", want); err != nil {
		return s, err
	}
	if err := logits.Finite("model", got); err != nil {
		return s, err
	}
	best, choice := logits.Argmax(want), logits.Argmax(got)
	lse, lseGot := logits.LogSumExpFrom(want, best, exp), logits.LogSumExpFrom(got, choice, nil)
	stored.allow(&s, want, exp)
	c := kernel.Compare(want, got, exp)
	s.KL, s.Hidden = logits.KL(&c, lse, lseGot), 0
	s.MaxAbs, s.Cosine = c.Most, logits.Cosine(c.PQ, c.PP, c.QQ)
	s.Top1 = want[choice] == want[best]
	s.Choose(got, lseGot, Candidate{best, float64(want[best]) - lse}, Candidate{choice, float64(want[choice]) - lse})
	s.Logits = MomentsOf(want)
	if next >= 0 {
		s.NLL = lseGot - float64(got[next])
		s.RefNLL = lse - float64(want[next])
	}
	return s, nil
}

// A Candidate is a token with the log of the probability that the reference gives
// to it, NaN if that is unknown.
type Candidate struct {
	ID   int
	LogP float64
}

// Choose records the first choices of the reference and of the model. got holds the
// model's logits and lse is their LogSumExp. Choose also sets Top5, so Top1 must
// already be set.
func (s *Score) Choose(got []float32, lse float64, reference, model Candidate) {
	choice := func(c Candidate) Choice {
		return Choice{ID: c.ID, PReference: Value(kernel.Exp64(c.LogP)), PModel: Value(kernel.Exp64(float64(got[c.ID]) - lse))}
	}
	s.Reference, s.Model = choice(reference), choice(model)
	s.Top5 = s.Top1 || logits.Rank(got, reference.ID) < 5
}
