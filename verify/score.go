package verify

import (
	"math"
	"slices"

	"thimble/internal/kernel"
)

// In this file every product that meets a sum is converted explicitly, since Go
// may otherwise fuse the two on some machines, and exp and log are those of
// package kernel: a score is the same number everywhere. Sums over the
// vocabulary run in ascending token order.

// A score compares one position's logits with the reference's. What does not
// apply is NaN.
type score struct {
	kl      float64 // KL(reference || model) in nats; for a compact reference a lower bound
	hidden  float64 // how much larger than kl the divergence may be
	top1    bool    // the model's first choice has the reference's highest score
	top5    bool    // top1, or the reference's first choice is among the model's first five
	maxAbs  float64 // largest |reference logit - model logit|
	cosine  float64 // of the two rows of logits
	nll     float64 // -log p(next token), model
	refNLL  float64 // -log p(next token), reference
	moments moments // of the reference logits; of the model's beside a compact reference

	reference, model Choice // the first choices, without texts
}

// A lane is one worker's scratch.
type lane struct {
	exp  []float64 // (Vocab)
	tail []float32 // (Vocab), logits of the tokens that a compact reference leaves out
	kept []bool    // (Vocab)
}

// noScore is the score with nothing measured.
func noScore() score {
	nan := math.NaN()
	return score{kl: nan, hidden: nan, maxAbs: nan, cosine: nan, nll: nan, refNLL: nan, moments: moments{mean: nan}}
}

// predict scores a position without a reference.
func (l *lane) predict(got []float32, next int) (score, error) {
	s := noScore()
	if err := finite("model", got); err != nil {
		return s, err
	}
	if next >= 0 {
		s.nll = logSumExp(got, nil) - float64(got[next])
	}
	return s, nil
}

// compare scores a position against a full row of reference logits.
func (l *lane) compare(want, got []float32, next int) (score, error) {
	s := noScore()
	if err := finite("reference", want); err != nil {
		return s, err
	}
	if err := finite("model", got); err != nil {
		return s, err
	}
	l.exp = grow(l.exp, len(want))
	lse, lseGot := logSumExp(want, l.exp), logSumExp(got, nil)

	// KL(P||Q) = sum of p (log p - log q), p = exp(want - lse). l.exp holds
	// exp(want - max), so that p is that over its sum.
	var sum, kl, dot, want2, got2 float64
	s.maxAbs = 0
	for i, e := range l.exp {
		a, b := float64(want[i]), float64(got[i])
		sum += e
		kl += float64(e * ((a - lse) - (b - lseGot)))
		dot += float64(a * b)
		want2 += float64(a * a)
		got2 += float64(b * b)
		s.maxAbs = max(s.maxAbs, math.Abs(a-b))
	}
	s.kl, s.hidden = max(0, kl/sum), 0
	s.cosine = cosine(dot, want2, got2)
	best, _ := argmax(want)
	choice, _ := argmax(got)
	s.top1 = want[choice] == want[best]
	s.choose(got, lseGot, best, float64(want[best])-lse, choice, float64(want[choice])-lse)
	s.moments = momentsOf(want)
	if next >= 0 {
		s.nll = lseGot - float64(got[next])
		s.refNLL = lse - float64(want[next])
	}
	return s, nil
}

// choose records the first choices of the reference and of the model, whose
// logits are got, with the logarithms of what the reference gives to each; top1
// is known by then.
func (s *score) choose(got []float32, lseGot float64, best int, logBest float64, choice int, logChoice float64) {
	first := func(id int, logP float64) Choice {
		return Choice{ID: id, PReference: Value(kernel.Exp64(logP)), PModel: Value(kernel.Exp64(float64(got[id]) - lseGot))}
	}
	s.reference, s.model = first(best, logBest), first(choice, logChoice)
	s.top5 = s.top1 || before(got, best) < 5
}

// before counts the elements of x that come before x[at] in descending order,
// equals by their index.
func before(x []float32, at int) int {
	n := 0
	for i, v := range x {
		if v > x[at] || v == x[at] && i < at {
			n++
		}
	}
	return n
}

// cosine is the cosine of two vectors by their products. A zero vector points
// along another zero vector only.
func cosine(ab, aa, bb float64) float64 {
	switch {
	case aa == 0 && bb == 0:
		return 1
	case aa == 0 || bb == 0:
		return 0
	}
	return min(1, max(-1, ab/(math.Sqrt(aa)*math.Sqrt(bb))))
}

// argmax returns the first index of the largest element, and the element.
func argmax(x []float32) (int, float32) {
	at := 0
	for i, v := range x {
		if v > x[at] {
			at = i
		}
	}
	return at, x[at]
}

// logSumExp returns log(sum of exp(x)). Unless exp is nil it also stores
// exp(x - max(x)) there.
func logSumExp(x []float32, exp []float64) float64 {
	_, top := argmax(x)
	high, sum := float64(top), 0.0
	for i, v := range x {
		e := kernel.Exp64(float64(v) - high)
		if exp != nil {
			exp[i] = e
		}
		sum += e
	}
	return high + kernel.Log64(sum)
}

// compare scores position t against the top logits of a compact reference.
//
// Let P be the reference, Q the model, K the kept tokens, t and u what P and Q
// give to the rest together, and c the least kept p. Merging the rest into one
// token cannot raise a divergence, so
//
//	KL(P||Q) >= sum over K of p log(p/q) + t log(t/u)
//
// which is reported as kl. P may share t among the rest in any way that gives no
// token more than c. The divergence is convex in P, hence largest where as many
// tokens as possible have c: those to which Q gives least. hidden is that
// largest value less kl.
func (p *topPrompt) compare(l *lane, t int, got []float32, next int) (score, error) {
	s := noScore()
	if err := finite("model", got); err != nil {
		return s, err
	}
	l.kept = grow(l.kept, len(got))
	row, err := p.row(t, len(got), l.kept)
	if err != nil {
		return s, err
	}
	rest, lse, err := p.rest(t, row, len(got)-len(row.ids))
	if err != nil {
		return s, err
	}
	lseGot := logSumExp(got, nil)
	var kl float64
	s.maxAbs = 0
	for i, id := range row.ids {
		a, b := float64(row.logits[i]), float64(got[id])
		kl += float64(kernel.Exp64(a-lse) * ((a - lse) - (b - lseGot)))
		s.maxAbs = max(s.maxAbs, math.Abs(a-b))
		if int(id) == next {
			s.refNLL = lse - a
		}
	}
	s.moments = momentsOf(got)
	choice, _ := argmax(got)
	best, highest := argmax(row.logits)
	logChoice := math.NaN()
	if i := slices.Index(row.ids, int32(choice)); i >= 0 {
		s.top1 = row.logits[i] == highest
		logChoice = float64(row.logits[i]) - lse
	}
	s.choose(got, lseGot, int(row.ids[best]), float64(highest)-lse, choice, logChoice)
	if next >= 0 {
		s.nll = lseGot - float64(got[next])
	}
	lower, upper := l.tailBounds(got, lseGot, rest, float64(slices.Min(row.logits))-lse)
	s.kl = max(0, kl+lower)
	s.hidden = max(0, kl+upper-s.kl)
	return s, nil
}

// tailBounds returns the least and the largest part that the tokens not marked
// in l.kept can have in the divergence, when the reference gives them t together
// and to none more than exp(logCap).
func (l *lane) tailBounds(got []float32, lseGot, t, logCap float64) (lower, upper float64) {
	if t == 0 {
		return 0, 0
	}
	l.tail = l.tail[:0]
	for id, k := range l.kept {
		if !k {
			l.tail = append(l.tail, got[id])
		}
	}
	slices.Sort(l.tail)
	logU := logSumExp(l.tail, nil) - lseGot
	lower = float64(t * (kernel.Log64(t) - logU))

	left, c := t, kernel.Exp64(logCap)
	for _, v := range l.tail {
		logQ := float64(v) - lseGot
		if left <= c {
			upper += float64(left * (kernel.Log64(left) - logQ))
			break
		}
		upper += float64(c * (logCap - logQ))
		left -= c
	}
	return lower, max(lower, upper)
}

// moments are the count, mean and sum of squared deviations of some numbers.
type moments struct {
	n        int
	mean, m2 float64
}

func momentsOf(x []float32) moments {
	m := moments{n: len(x)}
	for _, v := range x {
		m.mean += float64(v)
	}
	m.mean /= float64(m.n)
	for _, v := range x {
		d := float64(v) - m.mean
		m.m2 += float64(d * d)
	}
	return m
}

// add joins the numbers of b to those of m (Chan, Golub and LeVeque 1979).
func (m *moments) add(b moments) {
	if m.n == 0 {
		*m = b
		return
	}
	n, d := m.n+b.n, b.mean-m.mean
	share := float64(b.n) / float64(n)
	m.m2 += b.m2 + float64(float64(float64(d*d)*float64(m.n))*share)
	m.mean += float64(d * share)
	m.n = n
}

// deviation is the standard deviation, NaN for no numbers.
func (m *moments) deviation() float64 {
	if m.n == 0 {
		return math.NaN()
	}
	return math.Sqrt(m.m2 / float64(m.n))
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
