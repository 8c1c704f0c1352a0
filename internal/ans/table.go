package ans

import "math/bits"

// Tables of tANS (Duda, arXiv 1311.2540, section 4.2; laid out as in Facebook's FSE). The
// frequencies of a table's symbols sum to tableSize, so a symbol of frequency f takes
// tableBits - log2 f bits on average.
const (
	tableBits = 12
	tableSize = 1 << tableBits

	symbols = 256
)

// frequencies holds the frequency of each symbol; they sum to tableSize.
type frequencies struct {
	of     [symbols]uint16
	weight [symbols]uint64 // that they were made from, as a head stores it
}

// spread returns the symbol of each state.
func (f *frequencies) spread() *[tableSize]uint8 {
	var symbol [tableSize]uint8
	const step = tableSize>>1 + tableSize>>3 + 3 // odd, so it reaches every state
	at := 0
	for s, n := range f.of {
		for range n {
			symbol[at] = uint8(s)
			at = (at + step) & (tableSize - 1)
		}
	}
	return &symbol
}

// A decodeTable tells for each state what it decodes: the symbol in bits 0 to 7, the number
// of bits to read in bits 8 to 15, and from bit 16 on the state that these bits, as a number,
// are added to.
type decodeTable [tableSize]uint32

func (f *frequencies) decoder() *decodeTable {
	var t decodeTable
	next := f.of
	for state, s := range f.spread() {
		n := uint32(next[s])
		next[s]++
		width := uint32(tableBits + 1 - bits.Len32(n))
		t[state] = uint32(s) | width<<8 | (n<<width-tableSize)<<16
	}
	return &t
}

// An encodeTable is the inverse of a decodeTable.
type encodeTable struct {
	first [symbols]int32    // of each symbol's states in state, minus its frequency
	freq  *frequencies      // bits to write follow from it
	state [tableSize]uint16 // the states of each symbol, in ascending order
}

func (f *frequencies) encoder() *encodeTable {
	t := &encodeTable{freq: f}
	var at [symbols]int32
	sum := int32(0)
	for s, n := range f.of {
		at[s], t.first[s] = sum, sum-int32(n)
		sum += int32(n)
	}
	for state, s := range f.spread() {
		t.state[at[s]] = uint16(state)
		at[s]++
	}
	return t
}

// A token is the bits that lead from a state to the next: their number in bits 0 to 3, and
// from bit 4 on the number that they make.
type token uint16

// put appends the bits.
func (x token) put(w *bitWriter) { w.put(uint32(x>>4), int(x&15)) }

// put returns the state before a symbol, given the one after it, and the bits that lead from
// the first to the second.
func (t *encodeTable) put(state uint32, s uint8) (before uint32, x token) {
	n, f := state+tableSize, uint32(t.freq.of[s])
	width := tableBits + 1 - bits.Len32(f) // brings n below 2f, or one less does
	if width > 0 && n>>(width-1) < 2*f {
		width--
	}
	return uint32(t.state[t.first[s]+int32(n>>width)]), token((n&(1<<width-1))<<4) | token(width)
}

// normalize returns frequencies in proportion to count, at least 1 for each symbol that
// occurs, which must be some. No other frequencies with these sums give a shorter code, to
// first order.
func normalize(count *[symbols]uint64) *frequencies {
	f := &frequencies{}
	total := uint64(0)
	for _, n := range count {
		total += n
	}
	left := tableSize
	for s, n := range count {
		if n > 0 {
			f.of[s] = uint16(max(1, (n*tableSize+total/2)/total))
			left -= int(f.of[s])
		}
	}
	for ; left > 0; left-- { // one more shortens the code by about n/f
		best := -1
		for s, n := range count {
			if n > 0 && (best < 0 || n*uint64(f.of[best]) > count[best]*uint64(f.of[s])) {
				best = s
			}
		}
		f.of[best]++
	}
	for ; left < 0; left++ { // and one less lengthens it by that
		best := -1
		for s, n := range count {
			if f.of[s] > 1 && (best < 0 || n*uint64(f.of[best]-1) < count[best]*uint64(f.of[s]-1)) {
				best = s
			}
		}
		f.of[best]--
	}
	return f
}
