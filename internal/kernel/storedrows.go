package kernel

import (
	"math"
	"unsafe"
)

// Lanes is the number of rows that Interleave takes, and Block the number of columns in a
// block.
const (
	Lanes = 8
	Block = 32
)

// tileMost is the largest tile of positions, and lanesMost the most rows of weights that
// MulStored multiplies at once.
const (
	tileMost  = 16
	lanesMost = 16
)

// StoredLanes returns the number of rows of weights that MulStored multiplies and
// TransposeF16 takes at once on this processor, a multiple of Lanes.
func StoredLanes() int { return best.storedLanes }

// An Order is the order of a row of rounded activations.
type Order int

const (
	Natural Order = iota // the order of columns
	Split                // in each block, first the even columns and then the odd ones
)

// StoredOrder returns the order of activations that MulStored needs for codes of the
// given bits. A vector of packed bytes splits into codes of even and odd columns.
func StoredOrder(bits int) Order {
	if bits == 8 {
		return Natural
	}
	return Split
}

// column returns the place of column i.
func (o Order) column(i int) int {
	if o == Natural {
		return i
	}
	return i&^(Block-1) + i%Block/2 + i%2*(Block/2)
}

// signed returns what the integer loops subtract from a code of the given bits so
// that it fits a signed byte.
func signed(bits int) int32 {
	if bits == 8 {
		return 128
	}
	return 0
}

// StoredRows are StoredLanes rows of codes as a container stores them. A segment is a
// range of columns that share a scale.
type StoredRows struct {
	Bits   int       // of a code, 2 to 8
	Zero   int32     // subtracted from each code
	Codes  []byte    // rows that begin Stride bytes apart
	Stride int       // bytes
	Scales []float32 // (segments, StoredLanes)
	Mins   []float32 // (segments, StoredLanes), or empty

	room storedRoom // memory of MulStored
}

// A storedRoom is the memory that MulStored needs for a tile of positions: outputs and
// integer sums, (tileMost, lanesMost) each, and a block of 8-bit codes or the terms of zero
// points. It begins anywhere in the first line of a cache.
type storedRoom [2*tileMost*lanesMost + Lanes*Block/4 + line]float32

const line = 16 // float32 numbers in a line of a cache

// aligned returns r from the start of a line on.
func (r *storedRoom) aligned() []float32 {
	return r[-uintptr(unsafe.Pointer(r))/4%line:]
}

// StoredInputs are positions of rounded activations for StoredRows. They are stored in
// tiles, whose positions a form processes together: block by block, and in each the
// positions of the tile.
type StoredInputs struct {
	order     Order
	positions int
	tile      int     // positions in a tile, except the last
	columns   []int32 // (segments)
	halves    bool    // each has half a block
	width     int     // blocks of a position

	codes  []int8    // tiles of (width, positions, Block), -127 to 127
	sums   []int32   // tiles of (segments, positions): the sum of each segment's codes
	scales []float32 // as sums
	mins   []float32 // as sums: scale times sum, the factors of the weights' Mins

	room []float32 // (positions, Block), if halves: memory of Round
}

// Storable reports whether StoredInputs can have segments of the given columns: whole blocks
// each, or half a block each and whole blocks together.
func Storable(columns []int32) bool {
	halves := halved(columns)
	for _, n := range columns {
		if n <= 0 || halves && n != Block/2 || !halves && n%Block != 0 {
			return false
		}
	}
	return !halves || len(columns)%2 == 0
}

// halved reports whether segments that are Storable have half a block each.
func halved(columns []int32) bool { return len(columns) > 0 && columns[0] == Block/2 }

// Reset makes x hold positions whose segments have the given columns, which must be Storable.
// Their contents are unspecified until Round sets every segment.
func (x *StoredInputs) Reset(positions int, columns []int32, order Order) {
	check(Storable(columns), "StoredInputs: columns")
	x.order, x.positions, x.columns, x.halves, x.tile = order, positions, columns, halved(columns), best.storedTile
	n := 0
	for _, c := range columns {
		n += int(c)
	}
	x.width = n / Block
	x.codes = resized(x.codes, positions*n)
	x.sums = resized(x.sums, positions*len(columns))
	x.scales, x.mins = resized(x.scales, len(x.sums)), resized(x.mins, len(x.sums))
	if x.halves {
		x.room = resized(x.room, positions*Block)
	}
}

func resized[T any](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}

// around returns the tile of position t: its first position and how many it has.
func (x *StoredInputs) around(t int) (first, n int) {
	if x.positions <= x.tile { // without a division, which takes as long as a small segment
		return 0, x.positions
	}
	first = t - t%x.tile
	return first, min(x.tile, x.positions-first)
}

// factor returns the index of segment k of position t.
func (x *StoredInputs) factor(t, k int) int {
	first, n := x.around(t)
	return first*len(x.columns) + k*n + t - first
}

// block returns the codes of block b of position t.
func (x *StoredInputs) block(t, b int) []int8 {
	first, n := x.around(t)
	return x.codes[(first*x.width+b*n+t-first)*Block:][:Block]
}

// Round sets segment k of position t to values, rounded by round8, and its scale. Column
// at is the first of the segment. Positions may be rounded at the same time.
func (x *StoredInputs) Round(t, k, at int, values []float32, scale, inverse float32) {
	check(len(values) == int(x.columns[k]) && at%min(Block, len(values)) == 0, "StoredInputs: segment")
	sum := int32(0)
	if x.halves {
		sum = x.roundHalf(t, at, values, inverse)
	} else {
		for i := 0; i < len(values); i += Block {
			sum += round8(x.block(t, (at+i)/Block), values[i:i+Block], inverse, x.order)
		}
	}
	i := x.factor(t, k)
	x.sums[i], x.scales[i], x.mins[i] = sum, scale, float32(scale*float32(sum))
}

// roundHalf rounds half a block from column at on: with zeros as the other half, whose codes it
// keeps.
func (x *StoredInputs) roundHalf(t, at int, values []float32, inverse float32) int32 {
	room, block := x.room[t*Block:][:Block], (*[Block]int8)(x.block(t, at/Block))
	other := Block/2 - at%Block // the column of the other half
	clear(room[other:][:Block/2])
	copy(room[at%Block:], values)
	kept := *block
	sum := round8(block[:], room, inverse, x.order)
	if x.order == Natural {
		copy(block[other:][:Block/2], kept[other:])
	} else { // half of the even columns, and half of the odd ones
		copy(block[other/2:][:Block/4], kept[other/2:])
		copy(block[Block/2+other/2:][:Block/4], kept[Block/2+other/2:])
	}
	return sum
}

// RoundGroups sets position t to values, (columns), each segment rounded with a scale of its
// own, that of GroupScale.
func (x *StoredInputs) RoundGroups(t int, values []float32) {
	check(len(values) == x.width*Block, "StoredInputs: position")
	if best.roundGroups != nil && len(values) > 0 {
		best.roundGroups(x, t, values)
		return
	}
	at := 0
	for k, n := range x.columns {
		segment := values[at:][:n]
		scale, inverse := GroupScale(segment)
		x.Round(t, k, at, segment, scale, inverse)
		at += int(n)
	}
}

// GroupScale returns the scale of a group of activations, which is its largest
// magnitude divided by 127, and the factor that turns activations into codes. If
// that factor overflows a float32, the scale and all codes are 0. If an element is
// not finite, the scale is NaN, which makes every output NaN.
func GroupScale(x []float32) (scale, inverse float32) {
	maxAbs := MaxAbs(x)
	if !(maxAbs <= math.MaxFloat32) {
		return float32(math.NaN()), 0
	}
	inverse = 127 / maxAbs
	if inverse > math.MaxFloat32 {
		return 0, 0
	}
	return maxAbs / 127, inverse
}

// MulStored computes the products of the rows of w and n positions of x, from position
// from on, as integer kernels do on a phone. It writes the product of lane r and position
// from+i to dst[i*ldd+r], for the first rows lanes. Each is a chain over the segments k in
// ascending order that starts at +0, with rounded products and fused sums:
//
//	P = sum over the columns of k of (code - w.Zero) * x.codes
//	y = FMA(x.scales[k], w.Scales[k]*P, y)
//	y = FMA(x.mins[k], w.Mins[k], y), if w has Mins
//
// P must fit an int32; it does for up to 66000 columns. MulStored panics if a slice is too
// short, or if from is not a multiple of StoredBand.
func MulStored(dst []float32, ldd int, w *StoredRows, x *StoredInputs, from, n, rows int) {
	if n <= 0 {
		return
	}
	segments, lanes := len(x.columns), best.storedLanes
	check(w.Bits >= 2 && w.Bits <= 8 && StoredOrder(w.Bits) == x.order, "MulStored: bits")
	check(w.Stride >= 0 && len(w.Codes) >= (lanes-1)*w.Stride+x.width*Block*w.Bits/8, "MulStored: codes")
	check(len(w.Scales) >= segments*lanes && (len(w.Mins) == 0 || len(w.Mins) >= segments*lanes), "MulStored: scales")
	check(from >= 0 && from%StoredBand == 0 && from+n <= x.positions && (n%StoredBand == 0 || from+n == x.positions), "MulStored: positions")
	check(rows > 0 && rows <= lanes && ldd >= 0 && len(dst) >= (n-1)*ldd+rows, "MulStored: dst")
	outputs := w.room.aligned()
	for end := from + n; from < end; {
		_, n := x.around(from)
		if segments == 0 {
			clear(outputs[:n*lanes])
		} else {
			if best.prefetch != nil {
				best.prefetch(&dst[0], ldd, n)
			}
			best.stored(w, x, from, n)
		}
		for t := range n {
			move(dst[:rows], outputs[t*lanes:][:rows])
			dst = dst[min(ldd, len(dst)):]
		}
		from += n
	}
}

// StoredBand is the multiple of positions at which MulStored may begin.
const StoredBand = tileMost

func storedPortable(w *StoredRows, x *StoredInputs, from, n int) {
	codes, outputs := make([]uint8, x.width*Block), w.room.aligned()
	for r := range Lanes {
		unpackPlanes(codes, w.Codes[r*w.Stride:], w.Bits, unpackPortable)
		for t := range n {
			y, at := float32(0), 0
			for k, n := range x.columns {
				i := x.factor(from+t, k)
				p := -w.Zero * x.sums[i]
				for end := at + int(n); at < end; at++ {
					p += int32(codes[at]) * int32(x.block(from+t, at/Block)[x.order.column(at%Block)])
				}
				y = FMA(x.scales[i], float32(w.Scales[k*Lanes+r]*float32(p)), y)
				if len(w.Mins) > 0 {
					y = FMA(x.mins[i], w.Mins[k*Lanes+r], y)
				}
			}
			outputs[t*Lanes+r] = y
		}
	}
}

// PrefersStored reports whether MulStored is faster than MulPanel on this processor, for
// codes of the given bits and the given number of positions.
func PrefersStored(bits, positions int) bool {
	most := best.storedMost
	if bits == 8 {
		most = best.storedMost8
	}
	return positions <= most
}
