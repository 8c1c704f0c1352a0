package vocab

import "slices"

// Distinct returns merges, each two ids of tokens, with one of those that are listed several
// times: the last, which counts in a Tokenizer, or else the first, which counts in llama.cpp.
func Distinct(merges []uint32, last bool) []uint32 {
	var pairs [][2]uint32
	for pair := range slices.Chunk(merges, 2) {
		pairs = append(pairs, [2]uint32(pair))
	}
	if last {
		slices.Reverse(pairs)
	}
	seen := make(map[[2]uint32]bool, len(pairs))
	pairs = slices.DeleteFunc(pairs, func(pair [2]uint32) bool {
		twice := seen[pair]
		seen[pair] = true
		return twice
	})
	if last {
		slices.Reverse(pairs)
	}
	out := make([]uint32, 0, 2*len(pairs))
	for _, pair := range pairs {
		out = append(out, pair[:]...)
	}
	return out
}
