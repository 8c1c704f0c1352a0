package quantize

import (
	"fmt"
	"slices"

	"thimble/internal/model"
)

// Pieces cuts up to tokens/context pieces of context tokens out of ids, spread
// evenly over all of it. bos, if not -1, takes the place of the first token of
// each. ids is read, not kept.
func Pieces(ids []int, tokens, context, bos int) (*Calibration, error) {
	if context < 2 || context > model.MaxLength {
		return nil, fmt.Errorf("a context of %d tokens is out of range, want 2 to %d", context, model.MaxLength)
	}
	whole, want := len(ids)/context, tokens/context
	switch {
	case whole == 0:
		return nil, fmt.Errorf("the text has %d tokens, less than one piece of %d", len(ids), context)
	case want < 1:
		return nil, fmt.Errorf("%d tokens are less than one piece of %d", tokens, context)
	}
	c := &Calibration{}
	n := min(want, whole)
	for i := range n {
		at := i * whole / n * context
		piece := slices.Clone(ids[at : at+context])
		if bos >= 0 {
			piece[0] = bos
		}
		c.Texts = append(c.Texts, piece)
	}
	return c, nil
}

// Tokens is the number of tokens of all texts.
func (c *Calibration) Tokens() int {
	n := 0
	for _, t := range c.Texts {
		n += len(t)
	}
	return n
}
