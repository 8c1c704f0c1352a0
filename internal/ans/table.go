package ans

import "thimble/internal/kernel"

// Tables of rANS (Duda, arXiv 1311.2540, section 2). The frequencies of a table's symbols sum to
// tableSize, so a symbol of frequency f takes tableBits - log2 f bits on average.
const (
	tableBits = kernel.SlotBits
	tableSize = kernel.TableSlots

	symbols = 256
)

// frequencies holds the frequency of each symbol; they sum to tableSize, and none is tableSize.
type frequencies struct {
	of     [symbols]uint16
	weight [symbols]uint64 // that they were made from, as a head stores it
}

// An encodeTable is the inverse of a table.
type encodeTable struct {
	of    [symbols]uint32 // frequencies
	first [symbols]uint32 // slot of each symbol
}

func (f *frequencies) encoder() *encodeTable {
	t := &encodeTable{}
	sum := uint32(0)
	for s, n := range f.of {
		t.of[s], t.first[s] = uint32(n), sum
		sum += uint32(n)
	}
	return t
}

// put returns the state before a symbol, given the one after it. If full, the decoder reads the
// low 16 bits of the latter after the symbol.
func (t *encodeTable) put(state uint32, s uint8) (before uint32, full bool) {
	f := t.of[s]
	if full = state >= f<<(32-1-tableBits); full {
		state >>= 16
	}
	return state/f<<tableBits + state%f + t.first[s], full
}

// normalize returns frequencies in proportion to count, at least 1 for each symbol that
// occurs, which must be some. No other frequencies with these sums give a shorter code, to
// first order. A lone symbol leaves 1 to another one, because 12 bits of a slot hold no
// frequency of 4096.
func normalize(count *[symbols]uint64) *frequencies {
	f := &frequencies{}
	total := uint64(0)
	var kinds []int
	for s, n := range count {
		if n > 0 {
			kinds = append(kinds, s)
			total += n
		}
	}
	if len(kinds) == 1 {
		s := kinds[0]
		f.of[s], f.of[s^1] = tableSize-1, 1
		return f
	}
	left := tableSize
	for _, s := range kinds {
		f.of[s] = uint16(max(1, (count[s]*tableSize+total/2)/total))
		left -= int(f.of[s])
	}
	for ; left > 0; left-- { // one more shortens the code by about n/f
		best := kinds[0]
		for _, s := range kinds[1:] {
			if count[s]*uint64(f.of[best]) > count[best]*uint64(f.of[s]) {
				best = s
			}
		}
		f.of[best]++
	}
	for ; left < 0; left++ { // and one less lengthens it by that
		best := -1
		for _, s := range kinds {
			if f.of[s] > 1 && (best < 0 || count[s]*uint64(f.of[best]-1) < count[best]*uint64(f.of[s]-1)) {
				best = s
			}
		}
		f.of[best]--
	}
	return f
}
