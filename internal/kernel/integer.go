package kernel

// Lanes is the number of rows of weights that MulIntegers multiplies at once, and
// Block the number of columns in a block.
const (
	Lanes = 8
	Block = 32
)

// A Packing says how a row of unsigned codes is stored.
type Packing int

const (
	// Bytes has a byte for each code, which must be below 128.
	Bytes Packing = 0
	// Packed2 to Packed7 have codes of so many bits in the bit planes of a container
	// (docs/FORMAT.md): a plane of the low 4 or 2 bits of all columns, then one of the
	// next 2 or 1 bits, and so on. Each plane packs codes as Unpack reads them.
	Packed2 Packing = 2
	Packed7 Packing = 7
	// Bytes8 has a byte for each code.
	Bytes8 Packing = 8
)

// PackingOf returns the packing of stored codes of the given bits, 2 to 8.
func PackingOf(bits int) Packing { return Packing(bits) }

// planes returns the bits of each plane.
func (p Packing) planes() []int {
	return [...][]int{Bytes: {8}, 2: {2}, 3: {2, 1}, 4: {4}, 5: {4, 1}, 6: {4, 2}, 7: {4, 2, 1}, Bytes8: {8}}[p]
}

// RowBytes returns the length of a row of n blocks.
func (p Packing) RowBytes(n int) int {
	bits := 0
	for _, b := range p.planes() {
		bits += b
	}
	return n * Block * bits / 8
}

// Column returns the place of column i of a row of activations that meets weights in
// this packing. Packed columns are divided into even and odd ones in each block,
// because that is the order in which a vector of bytes splits into codes.
func (p Packing) Column(i int) int {
	if p == Bytes || p == Bytes8 {
		return i
	}
	return i&^(Block-1) + i%Block/2 + i%2*(Block/2)
}

// offset returns what the integer loops subtract from a code, so that it fits a
// signed byte.
func (p Packing) offset() int32 {
	if p == Bytes8 {
		return 128
	}
	return 0
}

// IntegerWeights are Lanes rows of codes. A segment is a range of columns that
// share a scale.
type IntegerWeights struct {
	Packing Packing
	Zero    int32     // subtracted from each code
	Codes   []byte    // rows that begin Stride bytes apart
	Stride  int       // bytes
	Scales  []float32 // (segments, Lanes)
	Mins    []float32 // (segments, Lanes), or empty
}

// An IntegerInput is one position of activations, rounded to integers.
type IntegerInput struct {
	Blocks []int32   // (segments): the blocks of each, at least one
	Codes  []int8    // -127 to 127, in whole blocks; see Packing.Column
	Sums   []int32   // (segments): the sum of each segment's codes
	Scales []float32 // (segments)
	Mins   []float32 // (segments): Scales times Sums, the factors of the weights' Mins
}

// MulIntegers computes the products of the rows of w and x, as integer kernels do
// on a phone. Each is a chain over the segments k in ascending order that starts
// at +0, with rounded products and fused sums:
//
//	P = sum over the columns of k of (code - w.Zero) * x.Codes
//	y = FMA(x.Scales[k], w.Scales[k]*P, y)
//	y = FMA(x.Mins[k], w.Mins[k], y), if w has Mins
//
// P must fit an int32; it does for up to 66000 columns. MulIntegers panics if a
// slice is too short.
func MulIntegers(dst *[Lanes]float32, w *IntegerWeights, x *IntegerInput) {
	n, segments := len(x.Codes)/Block, len(x.Blocks)
	check(len(x.Codes)%Block == 0, "MulIntegers: blocks")
	check(w.Stride >= 0 && len(w.Codes) >= (Lanes-1)*w.Stride+w.Packing.RowBytes(n), "MulIntegers: codes")
	check(len(x.Sums) == segments && len(x.Scales) == segments && len(x.Mins) == segments, "MulIntegers: x")
	check(len(w.Scales) >= segments*Lanes && (len(w.Mins) == 0 || len(w.Mins) >= segments*Lanes), "MulIntegers: scales")
	for _, b := range x.Blocks {
		check(b > 0, "MulIntegers: empty segment")
		n -= int(b)
	}
	check(n == 0, "MulIntegers: segments")
	if segments == 0 {
		clear(dst[:])
		return
	}
	best.integers(dst, w, x)
}

func integersPortable(dst *[Lanes]float32, w *IntegerWeights, x *IntegerInput) {
	n := len(x.Codes)
	codes := make([]uint8, n)
	for r := range dst {
		unpackRow(codes, w.Codes[r*w.Stride:], w.Packing)
		y, at := float32(0), 0
		for k, blocks := range x.Blocks {
			p := -w.Zero * x.Sums[k]
			for end := at + int(blocks)*Block; at < end; at++ {
				p += int32(codes[at]) * int32(x.Codes[w.Packing.Column(at)])
			}
			y = FMA(x.Scales[k], float32(w.Scales[k*Lanes+r]*float32(p)), y)
			if len(w.Mins) > 0 {
				y = FMA(x.Mins[k], w.Mins[k*Lanes+r], y)
			}
		}
		dst[r] = y
	}
}

// unpackRow reads a row of codes.
func unpackRow(dst []uint8, src []byte, p Packing) {
	shift := 0
	for _, bits := range p.planes() {
		n := len(dst) * bits / 8
		unpackPortable(dst, src[:n], bits, uint(shift), shift > 0)
		src, shift = src[n:], shift+bits
	}
}
