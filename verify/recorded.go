package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/parallel"
)

// recorded is one prompt of a reference file.
type recorded struct {
	n                        int // its number
	ids                      []int
	logits                   *checkpoint.Tensor // full form
	topIDs, topLogits, total *checkpoint.Tensor // compact form
	coded                    []byte             // rows of a base file
	from, to                 int                // the positions that have logits
}

// A comparer is Logits that have no full rows, and compare what they have with
// the model's row of position t.
type comparer interface {
	compare(l *lane, t int, got []float32, next int) (score, error)
}

// fullPrompt is Logits over all the reference's logits of a prompt.
type fullPrompt struct {
	*recorded
	path string
}

func (p *fullPrompt) Rows(_ context.Context, dst []float32, from, n int) error {
	if from < 0 || n < 0 || from+n > len(p.ids) {
		return fmt.Errorf("positions [%d, %d) are outside a prompt of %d", from, from+n, len(p.ids))
	}
	t := p.logits
	width := len(t.Data) / t.Shape[0] // bytes of a row
	src := t.Data[from*width : (from+n)*width]
	dst = dst[:n*t.Shape[1]]
	return parallel.Guard(func() error {
		switch t.DType {
		case checkpoint.F32:
			kernel.FromF32(dst, src)
		case checkpoint.F16:
			kernel.FromF16(dst, src)
		case checkpoint.BF16:
			kernel.FromBF16(dst, src)
		}
		return nil
	})
}

// topPrompt is a prompt of a compact reference.
type topPrompt struct {
	*recorded
	path string
}

// Rows fails: a compact reference has no full rows.
func (p *topPrompt) Rows(context.Context, []float32, int, int) error {
	return fmt.Errorf("%s: a compact reference keeps no more than the top %d logits", defect.Printable(p.path), p.topIDs.Shape[1])
}

// Rows fails: there are codes, not logits.
func (p *basePrompt) Rows(context.Context, []float32, int, int) error {
	return fmt.Errorf("%s: a base file of llama.cpp keeps no logits", defect.Printable(p.path))
}

// topRow is what a compact reference keeps of one position.
type topRow struct {
	ids       []int32
	logits    []float32
	logSumExp float64 // over the whole vocabulary
}

// row reads position t. Each id is unique and below vocab; all else is finite.
func (p *topPrompt) row(t, vocab int, seen []bool) (topRow, error) {
	k := p.topIDs.Shape[1]
	row := topRow{ids: make([]int32, k), logits: make([]float32, k)}
	err := parallel.Guard(func() error {
		for i := range row.ids {
			row.ids[i] = int32(binary.LittleEndian.Uint32(p.topIDs.Data[4*(t*k+i):]))
		}
		kernel.FromF32(row.logits, p.topLogits.Data[4*t*k:4*(t+1)*k])
		row.logSumExp = float64(math.Float32frombits(binary.LittleEndian.Uint32(p.total.Data[4*t:])))
		return nil
	})
	if err != nil {
		return row, err
	}
	clear(seen)
	for i, id := range row.ids {
		switch {
		case id < 0 || int(id) >= vocab:
			return row, p.corrupt(partTopIDs, t, "token id %d is outside the model's vocabulary of %d", id, vocab)
		case seen[id]:
			return row, p.corrupt(partTopIDs, t, "token %d stands twice", id)
		case !isFinite(float64(row.logits[i])):
			return row, p.corrupt(partTopLogits, t, "the logit of token %d is %v", id, row.logits[i])
		}
		seen[id] = true
	}
	if !isFinite(row.logSumExp) {
		return row, p.corrupt(partLogSumExp, t, "is %v", row.logSumExp)
	}
	return row, nil
}

// rest returns the probability of the tokens that row leaves out, of which there
// are n, and the logarithm of the sum of exp of all logits.
//
// logsumexp is rounded to float32, and what it leaves for the rest may then be
// negative, or more than n tokens can have that are no likelier than the kept
// ones. The rest is held to what is possible, and the sum adjusted to it; an
// adjustment beyond rounding means that the three tensors contradict each other.
func (p *topPrompt) rest(t int, row topRow, n int) (rest, logSumExp float64, err error) {
	sum, least := 0.0, math.Inf(1)
	for _, v := range row.logits {
		prob := kernel.Exp64(float64(v) - row.logSumExp)
		sum += prob
		least = min(least, prob)
	}
	rest = max(0, min(1-sum, float64(least*float64(n))))
	total := sum + rest
	shift := kernel.Log64(total)
	const rounding = 1e-3 // of float32, with room to spare
	if !(math.Abs(shift) <= rounding) {
		return 0, 0, p.corrupt(partLogSumExp, t, "contradicts the kept logits: with it all tokens together have a probability of %.4g", total)
	}
	return rest / total, row.logSumExp + shift, nil
}

func (p *topPrompt) corrupt(part string, t int, format string, args ...any) error {
	return defect.Corrupt(p.path, fmt.Sprintf("prompt.%d.%s", p.n, part), "row %d: "+format, append([]any{t}, args...)...)
}

func isFinite(x float64) bool { return x-x == 0 }
