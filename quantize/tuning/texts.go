package tuning

import "errors"

// Texts are token ids to tune on, and others that tell when to stop. None is empty.
type Texts struct{ Texts, HeldOut [][]int }

// mostHeldOut is the largest number of pieces that Divide holds out.
const mostHeldOut = 8

// Divide holds out an eighth of pieces, but at least one and at most mostHeldOut, evenly
// spaced.
func Divide(pieces [][]int) (*Texts, error) {
	n := min(max(1, len(pieces)/8), mostHeldOut)
	if len(pieces) < 2 {
		return nil, errors.New("there is only one piece of text, and tuning holds out another; use more tokens or a smaller --calib-context")
	}
	t := new(Texts)
	for i, ids := range pieces {
		if k := len(t.HeldOut); k < n && i == (2*k+1)*len(pieces)/(2*n) {
			t.HeldOut = append(t.HeldOut, ids)
		} else {
			t.Texts = append(t.Texts, ids)
		}
	}
	return t, nil
}

// Tokens returns the number of tokens to tune on.
func (t *Texts) Tokens() int { return tokens(t.Texts) }

// HeldOutTokens returns the number of tokens to measure on.
func (t *Texts) HeldOutTokens() int { return tokens(t.HeldOut) }
