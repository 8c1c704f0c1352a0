package reference

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/parallel"
	"thimble/verify/metric"
)

// topPrompt is the Distribution of a prompt of a compact file.
type topPrompt struct {
	path             string
	n                int                // number of the prompt
	first            int                // position of row 0
	ids, logits, lse *checkpoint.Tensor // topk_ids, topk_logits and logsumexp
	next             *checkpoint.Tensor // next_logits, nil if the file has none
	tail             *tail              // nil if the file has none
}

// A tail holds tokens that are not among the top ones, with their logits: all tokens
// whose probability p is at least step, and each of the others with probability p/step.
// The latter are a sample in which each drawn token stands for a probability of step.
type tail struct {
	ids, logits *checkpoint.Tensor // of all rows
	ends        []int              // where each row ends
	step        float64
}

// A topRow holds the data that a compact file keeps of one position.
type topRow struct {
	ids    []int32
	logits []float32
	top    int     // the first top of them are the top ones; the others belong to the tail
	step   float64 // of the tail; 0 without a tail
	next   float64 // logit of the token that follows, NaN if unknown
	lse    float64 // LogSumExp of the whole vocabulary
	rest   float64 // probability of all tokens that are not kept
	most   float64 // the largest probability that one of those tokens can have
}

// Load does nothing: Compare reads the mapped file.
func (p *topPrompt) Load(context.Context, int, int) error { return nil }

// Compare scores position t against the kept logits of the reference.
//
// Let P be the reference, Q the model, K the set of kept tokens, t and u the total
// probability of all other tokens under P and under Q, and c the most that P can give
// to one of those. Merging the other tokens into one cannot raise a divergence, so
//
//	KL(P||Q) >= sum over K of p log(p/q) + t log(t/u)
//
// P may distribute t among the other tokens in any way that gives none of them more
// than c. The divergence is convex in P, so it is largest if as many tokens as possible
// have c, starting with those that are least likely under Q. Without a tail, the KL of
// the Score is the lower bound, and Hidden its distance to the upper bound. With a tail,
// KL is an estimate between the two, and the Sample of the Score bounds the mean of many
// positions.
func (p *topPrompt) Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error) {
	score := metric.Unmeasured()
	if err := logits.Finite("model", got); err != nil {
		return score, err
	}
	if t < p.first || t-p.first >= p.ids.Shape[0] {
		return score, fmt.Errorf("%s: holds positions %d to %d of prompt %d, not %d", defect.Printable(p.path), p.first, p.first+p.ids.Shape[0]-1, p.n, t)
	}
	s.kept = grow(s.kept, len(got))
	row, err := p.row(t-p.first, len(got), s.kept)
	if err != nil {
		return score, err
	}
	lse, lseGot := row.lse, logits.LogSumExp(got, nil)
	var kl float64
	score.MaxAbs, score.Partial = 0, len(row.ids) < len(got)
	for i, id := range row.ids {
		a, b := float64(row.logits[i]), float64(got[id])
		kl += float64(kernel.Exp64(a-lse) * ((a - lse) - (b - lseGot)))
		score.MaxAbs = max(score.MaxAbs, math.Abs(a-b))
	}
	score.Logits = metric.MomentsOf(got)
	best := logits.Argmax(row.logits)
	choice := metric.Candidate{ID: logits.Argmax(got), LogP: math.NaN()}
	if i := slices.Index(row.ids, int32(choice.ID)); i >= 0 {
		score.Top1 = row.logits[i] == row.logits[best]
		choice.LogP = float64(row.logits[i]) - lse
	}
	score.Choose(got, lseGot, metric.Candidate{ID: int(row.ids[best]), LogP: float64(row.logits[best]) - lse}, choice)
	if next >= 0 {
		score.NLL = lseGot - float64(got[next])
		score.RefNLL = lse - row.next
		if i := slices.Index(row.ids, int32(next)); i >= 0 {
			score.RefNLL = lse - float64(row.logits[i])
		}
	}
	lower, upper := s.tailBounds(got, lseGot, row.rest, row.most)
	least := max(0, kl+lower)
	most := max(least, kl+upper)
	score.KL = least
	if row.step > 0 {
		var estimate float64
		score.Sample, estimate = s.sample(&row, got, lseGot)
		score.KL = min(max(least, estimate), most)
	}
	score.Spare, score.Hidden = score.KL-least, most-score.KL
	return score, nil
}

// tailBounds returns the least and the most that the tokens not marked in s.kept can
// add to the divergence, if the reference gives them a total of t and none of them more
// than c. It leaves the model's logits of these tokens in s.tail, in ascending order.
func (s *Scratch) tailBounds(got []float32, lseGot, t, c float64) (lower, upper float64) {
	s.tail = s.tail[:0]
	for id, k := range s.kept {
		if !k {
			s.tail = append(s.tail, got[id])
		}
	}
	slices.Sort(s.tail)
	if t == 0 {
		return 0, 0
	}
	logU := logits.LogSumExp(s.tail, nil) - lseGot
	lower = float64(t * (kernel.Log64(t) - logU))

	left, logCap := t, kernel.Log64(c)
	for _, v := range s.tail {
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

// sample returns the Sample of a row with a tail, and an estimate of its divergence.
// s.tail must hold the model's logits of the tokens that row leaves out.
func (s *Scratch) sample(row *topRow, got []float32, lseGot float64) (x *metric.Sample, estimate float64) {
	var certain, mass float64 // divergence of the tokens that are kept for certain; probability of all others
	var spread, sure float64  // sum of p log(p/q)^2 over the tokens that are kept for certain, and their probability
	s.ys = s.ys[:0]
	least := math.Inf(1) // the smallest of the model's logits that are, or could have been, drawn
	high := math.Inf(-1) // and the largest
	if len(s.tail) > 0 {
		mass, least, high = row.rest, float64(s.tail[0]), float64(s.tail[len(s.tail)-1])
	}
	var drawn []int
	for i, id := range row.ids {
		logP, b := float64(row.logits[i])-row.lse, float64(got[id])
		if prob := kernel.Exp64(logP); i < row.top || prob >= row.step {
			d := logP - (b - lseGot)
			certain += float64(prob * d)
			spread += float64(prob * float64(d*d))
			sure += prob
		} else {
			drawn = append(drawn, i)
			mass += prob
			least, high = min(least, b), max(high, b)
		}
	}
	if mass == 0 {
		return nil, certain
	}
	sum := logits.SumExp(s.tail, high, nil)
	for _, i := range drawn {
		sum += kernel.Exp64(float64(got[row.ids[i]]) - high)
	}
	ratio := kernel.Log64(mass) - (high + kernel.Log64(sum) - lseGot) // log(t/u)
	for _, i := range drawn {
		s.ys = append(s.ys, float64(row.logits[i])-row.lse-(float64(got[row.ids[i]])-lseGot)-ratio)
	}
	most := kernel.Log64(row.most) - (least - lseGot) - ratio
	return metric.NewSample(certain+float64(mass*ratio), row.step, most, spread/sure, s.ys)
}

// row reads row t. It checks that ids are unique and below vocab, and that the other
// numbers are finite.
func (p *topPrompt) row(t, vocab int, seen []bool) (topRow, error) {
	row, err := p.read(t)
	if err != nil {
		return row, err
	}
	clear(seen)
	least := slices.Min(row.logits[:row.top])
	for i, id := range row.ids {
		idKind, logitKind := tensorTopIDs, tensorTopLogits
		if i >= row.top {
			idKind, logitKind = tensorTailIDs, tensorTailLogits
		}
		switch {
		case id < 0 || int(id) >= vocab:
			return row, p.corrupt(idKind, t, "token id %d is outside the model's vocabulary of %d", id, vocab)
		case seen[id]:
			return row, p.corrupt(idKind, t, "token %d occurs twice", id)
		case !logits.IsFinite(float64(row.logits[i])):
			return row, p.corrupt(logitKind, t, "the logit of token %d is %v", id, row.logits[i])
		case i >= row.top && row.logits[i] > least:
			return row, p.corrupt(logitKind, t, "token %d has a larger logit than one of %s", id, tensorTopIDs)
		}
		seen[id] = true
	}
	if !logits.IsFinite(row.lse) {
		return row, p.corrupt(tensorLogSumExp, t, "is %v", row.lse)
	}
	if math.IsInf(row.next, 0) || p.next != nil && row.next > float64(slices.Max(row.logits[:row.top])) {
		return row, p.corrupt(tensorNextLogits, t, "is %v, and the largest logit %v", row.next, slices.Max(row.logits[:row.top]))
	}
	return row, p.balance(t, &row, vocab-len(row.ids))
}

// read reads row t without checks.
func (p *topPrompt) read(t int) (row topRow, err error) {
	k := p.ids.Shape[1]
	from, n := 0, 0 // of the row in the tail
	if p.tail != nil {
		if t > 0 {
			from = p.tail.ends[t-1]
		}
		n, row.step = p.tail.ends[t]-from, p.tail.step
	}
	row.ids, row.logits, row.top, row.next = make([]int32, k+n), make([]float32, k+n), k, math.NaN()
	err = parallel.Guard(func() error {
		word := func(x *checkpoint.Tensor, i int) uint32 { return binary.LittleEndian.Uint32(x.Data[4*i:]) }
		for i := range k {
			row.ids[i], row.logits[i] = int32(word(p.ids, t*k+i)), math.Float32frombits(word(p.logits, t*k+i))
		}
		for i := range n {
			row.ids[k+i], row.logits[k+i] = int32(word(p.tail.ids, from+i)), math.Float32frombits(word(p.tail.logits, from+i))
		}
		if p.next != nil {
			row.next = float64(math.Float32frombits(word(p.next, t)))
		}
		row.lse = float64(math.Float32frombits(word(p.lse, t)))
		return nil
	})
	return row, err
}

// balance sets rest and most of a row that leaves out n tokens, and adjusts the lse of
// the row so that all probabilities sum to 1.
//
// Because logsumexp is rounded to float32, the remaining probability may be negative, or
// more than n tokens can have if none is likelier than most. balance limits it to the
// possible range and adjusts the sum accordingly. An adjustment larger than rounding
// means that the tensors contradict each other.
func (p *topPrompt) balance(t int, row *topRow, n int) error {
	sum, drawn, mass := 0.0, 0, 0.0
	row.most = math.Inf(1)
	for i, v := range row.logits {
		prob := kernel.Exp64(float64(v) - row.lse)
		sum += prob
		if i < row.top {
			row.most = min(row.most, prob)
		} else if prob < row.step {
			drawn++
			mass += prob
		}
	}
	if row.step > 0 {
		row.most = min(row.most, row.step)
	}
	row.rest = max(0, min(1-sum, float64(row.most*float64(n))))
	total := sum + row.rest
	shift := kernel.Log64(total)
	const rounding = 1e-3 // of float32, with a wide margin
	if !(math.Abs(shift) <= rounding) {
		return p.corrupt(tensorLogSumExp, t, "contradicts the kept logits: with it all tokens together have a probability of %.4g", total)
	}
	// Each drawn token stands for step. Chance explains a few standard deviations.
	if row.step > 0 {
		mass += row.rest
		given := float64(row.step * float64(drawn))
		if math.Abs(given-mass) > 10*math.Sqrt(row.step*mass)+float64(30*row.step) {
			return p.corrupt(tensorTailCounts, t, "%d tokens less likely than %.4g are no sample of a probability of %.4g", drawn, row.step, mass)
		}
	}
	row.rest /= total
	row.lse += shift
	return nil
}

func (p *topPrompt) corrupt(kind string, t int, format string, args ...any) error {
	return defect.Corrupt(p.path, fmt.Sprintf("prompt.%d.%s", p.n, kind), "row %d: "+format, append([]any{t}, args...)...)
}
