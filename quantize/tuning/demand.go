package tuning

import (
	"thimble/internal/divergence"
	"thimble/internal/gradient"
	"thimble/internal/kernel"
	"thimble/internal/model"
)

// Bytes returns about the memory that Tune takes on texts for a model with so many scales,
// besides the tensors of the model, with batches of so many tokens.
func Bytes(s *model.Spec, on *Texts, scales int64, batch int) int64 {
	longest := 0
	for _, texts := range [][][]int{on.Texts, on.HeldOut} {
		for _, ids := range texts {
			longest = max(longest, len(ids))
		}
	}
	padded := func(n int) int64 { return 4 * int64(kernel.Padded(n)) }
	hidden, vocab := padded(s.Hidden), padded(s.Vocab)
	positions := int64(longest)
	if together := max(positions, int64(batch)); together*vocab <= partBytes {
		positions = together
	}
	pass := gradient.Bytes(s, int(positions))
	logits := 2 * divergence.Batch * vocab
	const copies = 2 * 7 * 4 // of scales and minima: values, gradients, moments, what was best
	return pass + logits + scales*copies + int64(on.HeldOutTokens())*hidden
}
