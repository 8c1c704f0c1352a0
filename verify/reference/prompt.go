package reference

import (
	"errors"
	"fmt"
	"slices"

	"thimble/internal/model"
)

// A Prompt is a token sequence and the positions in it that are scored. The
// logits of position p, computed from IDs[:p+1], predict IDs[p+1].
type Prompt struct {
	IDs      []int
	From, To int // the positions [From, To)
}

// TextPrompts cuts a text into prompts of context tokens each, and selects the positions
// context/2 to context-2 of each for scoring. Every prediction then has at least half
// the context before it and a next token to compare with. llama.cpp's perplexity tool
// cuts texts in the same way, so its figures are comparable.
//
// chunks limits the number of prompts; 0 takes all whole ones. bos replaces the first
// token of every prompt, for tokenizers that start texts with a token; with -1 the first
// token stays. TextPrompts does not keep ids.
func TextPrompts(ids []int, context, chunks, bos int) ([]Prompt, error) {
	const least = 3
	if context < least || context > model.MaxLength {
		return nil, fmt.Errorf("a context of %d tokens is out of range, want %d to %d", context, least, model.MaxLength)
	}
	whole := len(ids) / context
	switch {
	case whole == 0 && len(ids) < least:
		return nil, fmt.Errorf("the text has %d tokens, too few to score any: use a longer text", len(ids))
	case whole == 0:
		return nil, fmt.Errorf("the text has %d tokens, less than one chunk of %d: use a longer text or a smaller --context, at most %d", len(ids), context, len(ids))
	case chunks < 0:
		return nil, fmt.Errorf("%d chunks: want a positive number, or 0 for the whole text", chunks)
	case chunks > whole:
		return nil, fmt.Errorf("the text has %d tokens, enough for %d chunks of %d, not for %d: use a longer text or --chunks %d", len(ids), whole, context, chunks, whole)
	case chunks == 0:
		chunks = whole
	}
	prompts := make([]Prompt, chunks)
	for i := range prompts {
		p := Prompt{slices.Clone(ids[i*context : (i+1)*context]), context / 2, context - 1}
		if bos >= 0 {
			p.IDs[0] = bos
		}
		prompts[i] = p
	}
	return prompts, nil
}

// CheckPrompts returns an error if there are no prompts, a scored position is
// outside its prompt, or a token id is outside the vocabulary.
func CheckPrompts(prompts []Prompt, vocab int) error {
	if len(prompts) == 0 {
		return errors.New("there are no prompts to score")
	}
	for i, p := range prompts {
		if p.From < 0 || p.From >= p.To || p.To > len(p.IDs) {
			return fmt.Errorf("prompt %d: positions [%d, %d) are not in a prompt of %d tokens", i, p.From, p.To, len(p.IDs))
		}
		for t, id := range p.IDs {
			if id < 0 || id >= vocab {
				return fmt.Errorf("prompt %d, position %d: token id %d is outside the model's vocabulary of %d", i, t, id, vocab)
			}
		}
	}
	return nil
}
