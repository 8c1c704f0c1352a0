package ans

import (
	"errors"
	"math/bits"
	"slices"

	"thimble/internal/kernel"
)

// significant is the number of leading bits of a frequency that a head has. More would save
// fewer bits of elements than they take.
const significant = 3

// coarse returns the frequencies that a head can hold for elements with these counts.
func coarse(count *[symbols]uint64) *frequencies {
	total := uint64(0)
	for _, n := range count {
		total += n
	}
	var weight [symbols]uint64
	for s, n := range count {
		if n == 0 {
			continue
		}
		hi, lo := bits.Mul64(n, 1<<maxWeight)
		w, _ := bits.Div64(hi, lo, total)
		w = max(w, 1)
		if drop := bits.Len64(w) - significant; drop > 0 {
			w = (w + 1<<drop>>1) >> drop << drop
			w = min(w, 1<<maxWeight)
		}
		weight[s] = w
	}
	f := normalize(&weight)
	f.weight = weight
	return f
}

// maxWeight is the largest logarithm of a weight in a head.
const maxWeight = 13

var errHead = errors.New("the tables of its code are damaged")

// writeFrequencies writes the weights of f: the first and the last symbol that occurs, and
// for each symbol from one to the other the number of bits of its weight, relative to that of
// the symbol before (0: the same; 10: one more; 110: one less; 111: any, in four bits), and
// the significant bits after the first.
func writeFrequencies(w *bitWriter, f *frequencies) {
	lo, hi := 0, symbols-1
	for f.weight[lo] == 0 {
		lo++
	}
	for f.weight[hi] == 0 {
		hi--
	}
	w.put(uint32(lo), 8)
	w.put(uint32(hi), 8)
	last := 0
	for s := lo; s <= hi; s++ {
		n := bits.Len64(f.weight[s])
		switch n - last {
		case 0:
			w.put(0, 1)
		case 1:
			w.put(1, 2)
		case -1:
			w.put(3, 3)
		default:
			w.put(7, 3)
			w.put(uint32(n), 4)
		}
		last = n
		if shown := min(n, significant) - 1; shown > 0 {
			w.put(uint32(f.weight[s]>>(n-1-shown))&(1<<shown-1), shown)
		}
	}
}

// readFrequencies reads what writeFrequencies wrote, and nothing else.
func readFrequencies(r *bitReader) (*frequencies, error) {
	lo, hi := int(r.take(8)), int(r.take(8))
	if lo > hi {
		return nil, errHead
	}
	var weight [symbols]uint64
	n := 0 // bits of the weight
	for s := lo; s <= hi; s++ {
		n = readLength(r, n)
		if n < 0 || n > maxWeight+1 {
			return nil, errHead
		}
		if n == 0 {
			continue
		}
		shown := min(n, significant) - 1
		weight[s] = (1<<shown | uint64(r.take(shown))) << (n - 1 - shown)
		if weight[s] > 1<<maxWeight {
			return nil, errHead
		}
	}
	if r.short || weight[lo] == 0 || weight[hi] == 0 {
		return nil, errHead
	}
	f := normalize(&weight)
	f.weight = weight
	return f, nil
}

// readLength reads the number of bits of a weight, given that of the one before. It returns -1
// for one that has a shorter form.
func readLength(r *bitReader, last int) int {
	switch {
	case r.take(1) == 0:
		return last
	case r.take(1) == 0:
		return last + 1
	case r.take(1) == 0:
		return last - 1
	}
	n := int(r.take(4))
	if d := n - last; d >= -1 && d <= 1 {
		return -1
	}
	return n
}

// writeList writes numbers below 256, with a table of their own and one state.
func writeList(w *bitWriter, list []uint8) {
	var count [symbols]uint64
	for _, s := range list {
		count[s]++
	}
	f := coarse(&count)
	writeFrequencies(w, f)
	t := f.encoder()
	full, words := make([]bool, len(list)), []uint16{} // words: the last first
	state := uint32(kernel.LowState)
	for i := len(list) - 1; i >= 0; i-- {
		var before uint32
		if before, full[i] = t.put(state, list[i]); full[i] {
			words = append(words, uint16(state))
		}
		state = before
	}
	w.put(state, stateBits)
	for _, x := range slices.Backward(words) {
		w.put(uint32(x), 16)
	}
}

// readList reads n numbers that writeList wrote.
func readList(r *bitReader, n int) ([]uint8, error) {
	f, err := readFrequencies(r)
	if err != nil {
		return nil, err
	}
	table := make([]kernel.Slot, tableSize)
	kernel.FillSlots(table, &f.of)
	list := make([]uint8, n)
	state := r.take(stateBits)
	for i := range list {
		slot := table[state%tableSize]
		list[i] = slot.Element()
		if state = slot.Next(state); state < kernel.LowState {
			state = state<<16 | r.take(16)
		}
	}
	if state != kernel.LowState || r.short {
		return nil, errHead
	}
	return list, nil
}

// stateBits holds any state.
const stateBits = 31

// write returns the head of c.
func (c *code) write() []byte {
	var w bitWriter
	w.put(uint32(len(c.freq)-1), 6)
	for _, f := range c.freq {
		writeFrequencies(&w, f)
	}
	writeList(&w, c.column)
	writeList(&w, c.row)
	for i := 1; i < len(c.table); i++ {
		w.put(uint32(c.table[i]-c.table[i-1]), 1)
	}
	return w.finish()
}

// readCode reads the head of a (rows, cols) matrix.
func readCode(head []byte, rows, cols int) (*code, error) {
	r := &bitReader{bytes: head}
	c := &code{}
	for range 1 + r.take(6) {
		f, err := readFrequencies(r)
		if err != nil {
			return nil, err
		}
		c.freq = append(c.freq, f)
	}
	var err error
	if c.column, err = readList(r, cols); err != nil {
		return nil, err
	}
	if c.row, err = readList(r, rows); err != nil {
		return nil, err
	}
	for _, list := range [][]uint8{c.column, c.row} {
		for _, x := range list {
			if x > maxClass {
				return nil, errHead
			}
		}
	}
	c.table = make([]uint8, c.sums())
	for i := 1; i < len(c.table); i++ {
		c.table[i] = c.table[i-1] + uint8(r.take(1))
	}
	if int(c.table[len(c.table)-1]) != len(c.freq)-1 || !r.ended() {
		return nil, errHead
	}
	return c, nil
}
