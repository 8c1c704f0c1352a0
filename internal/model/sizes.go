package model

import (
	"fmt"
	"slices"
	"strconv"

	"thimble/internal/defect"
)

// Of returns s with the sizes of one block: HeadDim, KVHeads and FFN are those of the block.
func (s *Spec) Of(block int) Spec {
	t, a := *s, s.AttentionOf(block)
	if a.HeadDim > 0 {
		t.HeadDim = a.HeadDim
	}
	if a.KVHeads > 0 {
		t.KVHeads = a.KVHeads
	}
	if len(s.FFNs) > 0 {
		t.FFN = s.FFNs[block]
	}
	return t
}

// Widest returns s with the largest HeadDim, KVHeads and FFN of all blocks, in each of which
// a block may be smaller.
func (s *Spec) Widest() Spec {
	t := *s
	for b := range s.Blocks {
		one := s.Of(b)
		t.HeadDim, t.KVHeads, t.FFN = max(t.HeadDim, one.HeadDim), max(t.KVHeads, one.KVHeads), max(t.FFN, one.FFN)
	}
	return t
}

// Varies reports whether the sizes of blocks differ, or some blocks have no keys and values of
// their own.
func (s *Spec) Varies() bool {
	return len(s.FFNs) > 0 || slices.ContainsFunc(s.Attention, func(a Attention) bool { return a.HeadDim > 0 || a.KVHeads > 0 || a.Back > 0 })
}

// KeysOf returns the block whose keys and values a block attends to.
func (s *Spec) KeysOf(block int) int { return block - s.AttentionOf(block).Back }

// checkBlocks returns an error for sizes of single blocks that are inconsistent.
func (s *Spec) checkBlocks() error {
	if n := len(s.FFNs); n != 0 && n != s.Blocks {
		return fmt.Errorf("feed-forward widths are given for %d of %d blocks", n, s.Blocks)
	}
	if len(s.FFNs) > 0 && s.Experts.Count > 0 {
		return defect.Unsupported("ffns", "with experts")
	}
	for b, a := range s.Attention {
		t := s.Of(b)
		switch {
		case a.HeadDim < 0 || a.KVHeads < 0 || a.Back < 0:
			return fmt.Errorf("block %d has a negative size", b)
		case !a.Attends() && (a.HeadDim > 0 || a.KVHeads > 0 || a.Back > 0 || a.KeyValues):
			return fmt.Errorf("block %d has no attention, but a description of its heads", b)
		case t.checkHeads() != nil:
			return fmt.Errorf("block %d: %w", b, t.checkHeads())
		case a.Back > b || a.Back > 0 && s.Shared():
			return fmt.Errorf("block %d has the keys of block %d", b, b-a.Back)
		case a.Back > 0 && !s.sameKeys(b, b-a.Back):
			return fmt.Errorf("block %d cannot have the keys of block %d, which are not of the same kind", b, b-a.Back)
		}
	}
	for b, n := range s.FFNs {
		if n < 1 || n > MaxWidth {
			return fmt.Errorf("ffn of block %d is %d, want 1 to %d", b, n, MaxWidth)
		}
	}
	return nil
}

// sameKeys reports whether block b can attend to the keys and values of an earlier block.
func (s *Spec) sameKeys(b, earlier int) bool {
	from, own, source := s.AttentionOf(earlier), s.Of(b), s.Of(earlier)
	return from.Back == 0 && from.Attends() && !s.AttentionOf(b).KeyValues && source.HeadDim == own.HeadDim && source.KVHeads == own.KVHeads
}

// ofBlock returns a Value for a property of a step's block, which outside blocks is that of s.
func ofBlock(of func(s *Spec) string) func(*Spec, int) string {
	return func(s *Spec, step int) string {
		t := *s
		if s.inBlocks(step) {
			t = s.Of(s.Schedule[step])
		}
		return of(&t)
	}
}

// size returns the feature of a size that may differ by block, what it is called in notes, and
// its value in a Spec of one block.
func size(name string, operations []string, what string, of func(s *Spec) int) Feature {
	value := ofBlock(func(s *Spec) string { return strconv.Itoa(of(s)) })
	return Feature{name, operations, value, func(s *Spec) string {
		least, most := of(s), of(s)
		for b := range s.Blocks {
			t := s.Of(b)
			least, most = min(least, of(&t)), max(most, of(&t))
		}
		return noteIf(least != most, fmt.Sprintf("%s %d to %d", what, least, most))
	}}
}

// sharingNote describes blocks without keys of their own.
func sharingNote(s *Spec) string {
	n := 0
	for _, a := range s.Attention {
		if a.Back > 0 {
			n++
		}
	}
	return noteIf(n > 0, fmt.Sprintf("keys and values of earlier blocks (%d of %d blocks)", n, s.Blocks))
}
