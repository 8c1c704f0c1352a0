package quantize

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"thimble/internal/model"
)

// Pieces cuts ids into pieces of context tokens and returns up to tokens/context of them,
// spread evenly: it divides ids into equal stretches, one for each piece, and takes the
// first piece of each stretch, or a random one if seed is not 0. bos, unless it is -1,
// replaces the first token of each piece. Some of the remaining pieces become Spare. Pieces
// does not retain ids.
func Pieces(ids []int, tokens, context, bos int, seed uint64) (*Calibration, error) {
	if context < 2 || context > model.MaxLength {
		return nil, fmt.Errorf("a context of %d tokens is out of range, want 2 to %d", context, model.MaxLength)
	}
	whole, want := len(ids)/context, tokens/context
	switch {
	case whole == 0:
		return nil, fmt.Errorf("the text has %d tokens, fewer than one piece of %d", len(ids), context)
	case want < 1:
		return nil, fmt.Errorf("%d tokens are fewer than one piece of %d", tokens, context)
	}
	n := min(want, whole)
	var taken, left []int // numbers of pieces
	draw := rand.NewPCG(seed, 0)
	for k := range n {
		first, end := k*whole/n, (k+1)*whole/n
		at := first
		if seed != 0 {
			at += int(draw.Uint64() % uint64(end-first))
		}
		for i := first; i < end; i++ {
			if i == at {
				taken = append(taken, i)
			} else {
				left = append(left, i)
			}
		}
	}
	cut := func(numbers []int) (texts [][]int) {
		for _, i := range numbers {
			piece := slices.Clone(ids[i*context : (i+1)*context])
			if bos >= 0 {
				piece[0] = bos
			}
			texts = append(texts, piece)
		}
		return texts
	}
	return &Calibration{Texts: cut(taken), Spare: cut(spread(left, sparePieces)), Available: whole * context}, nil
}

// sparePieces is the maximum number of held-out pieces: about 2000 scored tokens at the
// default length.
const sparePieces = 8

// spread returns up to n elements of x, evenly spaced.
func spread(x []int, n int) []int {
	n = min(n, len(x))
	some := make([]int, n)
	for i := range some {
		some[i] = x[i*len(x)/n]
	}
	return some
}

// Tokens returns the number of tokens of all texts.
func (c *Calibration) Tokens() int { return tokensOf(c.Texts) }
