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
	ids, logits, lse *checkpoint.Tensor // topk_ids, topk_logits and logsumexp
}

// topRow is what a compact file keeps of one position.
type topRow struct {
	ids    []int32
	logits []float32
	lse    float64 // LogSumExp of the whole vocabulary
}

// Load does nothing: Compare reads the mapped file.
func (p *topPrompt) Load(context.Context, int, int) error { return nil }

// Compare scores position t against the largest logits of the reference.
//
// Let P be the reference, Q the model, K the kept tokens, t and u the probability
// of all other tokens together by P and by Q, and c the least kept p. Merging the
// other tokens into one cannot raise a divergence, so
//
//	KL(P||Q) >= sum over K of p log(p/q) + t log(t/u)
//
// which is the KL of the Score. P may share t among the other tokens in any way
// that gives none of them more than c. The divergence is convex in P, so it is
// largest if as many tokens as possible have c: those to which Q gives least.
// Hidden is that largest value less KL.
func (p *topPrompt) Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error) {
	score := metric.Unmeasured()
	if err := logits.Finite("model", got); err != nil {
		return score, err
	}
	s.kept = grow(s.kept, len(got))
	row, err := p.row(t, len(got), s.kept)
	if err != nil {
		return score, err
	}
	rest, lse, err := p.rest(t, row, len(got)-len(row.ids))
	if err != nil {
		return score, err
	}
	lseGot := logits.LogSumExp(got, nil)
	var kl float64
	score.MaxAbs, score.Partial = 0, len(row.ids) < len(got)
	for i, id := range row.ids {
		a, b := float64(row.logits[i]), float64(got[id])
		kl += float64(kernel.Exp64(a-lse) * ((a - lse) - (b - lseGot)))
		score.MaxAbs = max(score.MaxAbs, math.Abs(a-b))
		if int(id) == next {
			score.RefNLL = lse - a
		}
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
	}
	lower, upper := s.tailBounds(got, lseGot, rest, float64(slices.Min(row.logits))-lse)
	score.KL = max(0, kl+lower)
	score.Hidden = max(0, kl+upper-score.KL)
	return score, nil
}

// tailBounds returns the least and the most that the tokens not marked in s.kept
// can add to the divergence, if the reference gives them t together and none of
// them more than exp(logCap).
func (s *Scratch) tailBounds(got []float32, lseGot, t, logCap float64) (lower, upper float64) {
	if t == 0 {
		return 0, 0
	}
	s.tail = s.tail[:0]
	for id, k := range s.kept {
		if !k {
			s.tail = append(s.tail, got[id])
		}
	}
	slices.Sort(s.tail)
	logU := logits.LogSumExp(s.tail, nil) - lseGot
	lower = float64(t * (kernel.Log64(t) - logU))

	left, c := t, kernel.Exp64(logCap)
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

// row reads position t. Each id is unique and below vocab; all else is finite.
func (p *topPrompt) row(t, vocab int, seen []bool) (topRow, error) {
	k := p.ids.Shape[1]
	row := topRow{ids: make([]int32, k), logits: make([]float32, k)}
	err := parallel.Guard(func() error {
		for i := range row.ids {
			row.ids[i] = int32(binary.LittleEndian.Uint32(p.ids.Data[4*(t*k+i):]))
		}
		kernel.FromF32(row.logits, p.logits.Data[4*t*k:4*(t+1)*k])
		row.lse = float64(math.Float32frombits(binary.LittleEndian.Uint32(p.lse.Data[4*t:])))
		return nil
	})
	if err != nil {
		return row, err
	}
	clear(seen)
	for i, id := range row.ids {
		switch {
		case id < 0 || int(id) >= vocab:
			return row, p.corrupt(tensorTopIDs, t, "token id %d is outside the model's vocabulary of %d", id, vocab)
		case seen[id]:
			return row, p.corrupt(tensorTopIDs, t, "token %d occurs twice", id)
		case !logits.IsFinite(float64(row.logits[i])):
			return row, p.corrupt(tensorTopLogits, t, "the logit of token %d is %v", id, row.logits[i])
		}
		seen[id] = true
	}
	if !logits.IsFinite(row.lse) {
		return row, p.corrupt(tensorLogSumExp, t, "is %v", row.lse)
	}
	return row, nil
}

// rest returns the probability of the n tokens that row leaves out, and the
// LogSumExp of all logits.
//
// logsumexp is rounded to float32. What it leaves for the rest may then be
// negative, or more than n tokens can have that are no likelier than the kept
// ones. rest keeps to what is possible and adjusts the sum to it; an adjustment
// beyond rounding means that the three tensors contradict each other.
func (p *topPrompt) rest(t int, row topRow, n int) (rest, lse float64, err error) {
	sum, least := 0.0, math.Inf(1)
	for _, v := range row.logits {
		prob := kernel.Exp64(float64(v) - row.lse)
		sum += prob
		least = min(least, prob)
	}
	rest = max(0, min(1-sum, float64(least*float64(n))))
	total := sum + rest
	shift := kernel.Log64(total)
	const rounding = 1e-3 // of float32, with a wide margin
	if !(math.Abs(shift) <= rounding) {
		return 0, 0, p.corrupt(tensorLogSumExp, t, "contradicts the kept logits: with it all tokens together have a probability of %.4g", total)
	}
	return rest / total, row.lse + shift, nil
}

func (p *topPrompt) corrupt(kind string, t int, format string, args ...any) error {
	return defect.Corrupt(p.path, fmt.Sprintf("prompt.%d.%s", p.n, kind), "row %d: "+format, append([]any{t}, args...)...)
}

// topEncoding writes a compact file.
type topEncoding struct {
	k                int
	ids, logits, lse []byte // of the positions of the prompt so far
	lanes            [][]topLogit
}

func newTopEncoding(k int) *topEncoding {
	return &topEncoding{k: k, lanes: make([][]topLogit, parallel.Workers())}
}

type topLogit struct {
	logit float32
	id    int32
}

// rows keeps the largest logits of n positions until the prompt ends.
func (e *topEncoding) rows(ctx context.Context, rows []float32, n int) ([]byte, error) {
	at, vocab := len(e.lse)/4, len(rows)/n
	e.ids, e.logits = append(e.ids, make([]byte, 4*n*e.k)...), append(e.logits, make([]byte, 4*n*e.k)...)
	e.lse = append(e.lse, make([]byte, 4*n)...)
	return nil, parallel.Do(ctx, n, func(worker, t int) error {
		e.keep(&e.lanes[worker], at+t, rows[t*vocab:][:vocab])
		return nil
	})
}

// end returns the three tensors of the prompt.
func (e *topEncoding) end() []byte {
	all := slices.Concat(e.ids, e.logits, e.lse)
	e.ids, e.logits, e.lse = e.ids[:0], e.logits[:0], e.lse[:0]
	return all
}

// keep stores the k largest logits of position t, the largest first; of ties the
// lowest id comes first. best is scratch.
func (e *topEncoding) keep(best *[]topLogit, t int, row []float32) {
	top := (*best)[:0]
	for id, v := range row {
		if len(top) == e.k {
			if v <= top[e.k-1].logit {
				continue
			}
			top = top[:e.k-1]
		}
		at, _ := slices.BinarySearchFunc(top, v, func(e topLogit, v float32) int {
			if e.logit >= v {
				return -1
			}
			return 1
		})
		top = slices.Insert(top, at, topLogit{v, int32(id)})
	}
	for i, x := range top {
		binary.LittleEndian.PutUint32(e.ids[4*(t*e.k+i):], uint32(x.id))
		binary.LittleEndian.PutUint32(e.logits[4*(t*e.k+i):], math.Float32bits(x.logit))
	}
	binary.LittleEndian.PutUint32(e.lse[4*t:], math.Float32bits(float32(logits.LogSumExp(row, nil))))
	*best = top
}
