package kernel

import (
	"encoding/binary"
	"slices"
)

// Entropy decoding: rANS (Duda, arXiv 1311.2540, section 2) with states that take turns and
// read from one stream. docs/FORMAT.md, section 6, is the normative description.

const (
	// States is the number of states that every form decodes at once.
	States = 32
	// SlotBits is the logarithm of the number of slots in a table.
	SlotBits = 12
	// LowState is the least state. The largest is below LowState << 16.
	LowState = 1 << 15

	slotMask = 1<<SlotBits - 1

	// groupBytes is what must be left of a stream for States elements: at most two bytes for each,
	// and a form may load more than it uses.
	groupBytes = 2*States + 8
)

// A Slot is what the lowest SlotBits bits of a state stand for: an element, and how many slots
// have the same element, in all and before this one.
type Slot uint32

// Element returns the element that a state with these bits emits.
func (s Slot) Element() uint8 { return uint8(s) }

// Next returns the state after x, which has these bits. It may be below LowState: then the next
// 16 bits of the stream follow, below those of the state.
func (s Slot) Next(x uint32) uint32 {
	return (x>>SlotBits)*uint32(s>>20) + uint32(s>>8&slotMask)
}

// TableSlots is the number of slots of a table. It emits an element with a probability of its
// share of them.
const TableSlots = 1 << SlotBits

// FillSlots fills table from the number of slots of each element. They must sum to TableSlots,
// and none may have all.
func FillSlots(table []Slot, frequency *[256]uint16) {
	check(len(table) == TableSlots, "FillSlots")
	for s, f := range frequency {
		for i := range table[:f] {
			table[i] = Slot(f)<<20 | Slot(i)<<8 | Slot(s)
		}
		table = table[f:]
	}
	check(len(table) == 0, "FillSlots: sum")
}

// RowSlots says which table each element of a row has.
type RowSlots struct {
	slots []Slot
	first []uint32 // of each element, where its table begins in slots
}

// Set makes r the RowSlots of a row whose element i has table table[class[i]] of those in slots,
// which r refers to.
func (r *RowSlots) Set(slots []Slot, class, table []uint8) {
	var first [256]uint32
	for i, t := range table {
		first[i] = uint32(t) << SlotBits
		check(len(slots)>>SlotBits > int(t), "Set: slots")
	}
	r.slots, r.first = slots, slices.Grow(r.first[:0], len(class))[:len(class)]
	most := uint8(0)
	for i, c := range class {
		r.first[i] = first[c]
		most = max(most, c)
	}
	check(int(most) < len(table), "Set: class")
}

// Decode decodes a row into dst and advances the states, each of which is below LowState << 16:
// element i belongs to state i modulo their number. It returns what it has not read of data, and
// false if data ends early. It is fast for States states.
func (r *RowSlots) Decode(dst []uint8, state []uint32, data []byte) (rest []byte, ok bool) {
	check(len(dst) == len(r.first) && len(state) > 0, "Decode")
	first := r.first
	for len(dst) > 0 {
		if len(state) == States && len(dst) >= States && len(data) >= groupBytes {
			groups, read := best.states(dst, r.slots, first, (*[States]uint32)(state), data)
			dst, first, data = dst[groups*States:], first[groups*States:], data[read:]
			continue
		}
		n := min(len(dst), len(state))
		for i, x := range state[:n] {
			slot := r.slots[first[i]+x&slotMask]
			dst[i] = slot.Element()
			x = slot.Next(x)
			if x < LowState {
				if len(data) < 2 {
					return nil, false
				}
				x = x<<16 | uint32(binary.LittleEndian.Uint16(data))
				data = data[2:]
			}
			state[i] = x
		}
		dst, first = dst[n:], first[n:]
	}
	return data, true
}

// statesPortable decodes groups of States elements for as long as groupBytes of data are left.
func statesPortable(dst []uint8, slots []Slot, first []uint32, state *[States]uint32, data []byte) (groups, read int) {
	for ; len(dst) >= States && len(first) >= States && len(data)-read >= groupBytes; groups++ {
		read += int(decodeGroup((*[States]uint8)(dst), slots, (*[States]uint32)(first), state, (*[groupBytes]byte)(data[read:])))
		dst, first = dst[States:], first[States:]
	}
	return groups, read
}

// decodeGroup decodes States elements and returns how many bytes of data it has read. It has no
// branches that depend on data.
func decodeGroup(dst *[States]uint8, slots []Slot, first, state *[States]uint32, data *[groupBytes]byte) (read uint32) {
	for i := 0; i < States; i += 4 {
		d, f, x := (*[4]uint8)(dst[i:]), (*[4]uint32)(first[i:]), (*[4]uint32)(state[i:])
		s := slots[f[0]+x[0]&slotMask]
		d[0] = s.Element()
		x[0], read = s.refill(x[0], data, read)
		s = slots[f[1]+x[1]&slotMask]
		d[1] = s.Element()
		x[1], read = s.refill(x[1], data, read)
		s = slots[f[2]+x[2]&slotMask]
		d[2] = s.Element()
		x[2], read = s.refill(x[2], data, read)
		s = slots[f[3]+x[3]&slotMask]
		d[3] = s.Element()
		x[3], read = s.refill(x[3], data, read)
	}
	return read
}

// refill returns the state after x with what it reads of data, of which read bytes have been read.
func (s Slot) refill(x uint32, data *[groupBytes]byte, read uint32) (next, after uint32) {
	x = s.Next(x)
	longer := x<<16 | uint32(binary.LittleEndian.Uint16(data[read&(2*States-1):]))
	read += (x - LowState) >> 31 << 1 // two bytes if x < LowState
	if x < LowState {
		x = longer
	}
	return x, read
}
