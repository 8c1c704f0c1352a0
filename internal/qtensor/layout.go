package qtensor

import "encoding/binary"

// A Layout describes how another program stores the rows of a matrix: as blocks
// that hold codes and scales together. The Codes of a Foreign matrix are its rows
// in that program's byte layout. Thimble only reads them; it computes with the
// dequantized values.
type Layout struct {
	Name   string // as its program spells it
	Cols   int    // columns per block
	Bytes  int    // bytes per block
	Scheme Scheme // width of the codes, columns that share a scale, and whether they share a minimum
	// Nested reports that scales and minimums are not float16 numbers, such as small
	// integers times a float16 of the block. No Int scheme is equivalent to that.
	Nested bool
	// Packs reports that Append can write any codes of Scheme. The codes of another
	// layout have fewer values than Scheme has, or a minimum that follows from the
	// scale.
	Packs bool
	short bool // AppendRow can write short6

	width          int           // bits that a code takes there, if they are fewer than Scheme's
	steps          *[256]float32 // see Scheme.Steps; nil for those of Scheme
	float16Offsets []int         // byte offsets of a block's float16 numbers
	// unpack writes the codes of a block, (Cols).
	unpack func(codes []uint8, block []byte)
	// scales writes the scales and offsets of a block, one of each for every
	// Scheme.Group columns. It is nil if the block's float16 numbers are the scale and
	// the minimum.
	scales func(scale, offset []float32, block []byte)
	// infinite reports whether a block's scale is NaN or infinite, or so large that
	// weights can be. It is nil if only the numbers at float16Offsets can be.
	infinite func(block []byte) bool
}

// The layouts of ggml (ggml-common.h, from block_q4_0 on; ggml-quants.c,
// dequantize_row_*), here those of 32 codes with plain scales. Every product of a scale and a
// code fits a float32, so only adding a minimum rounds, both in ggml and here.
//
//	Q4_0  d f16                16 bytes; byte j holds code j in its low and code j+16 in its high half
//	Q4_1  d f16, m f16         the same
//	Q5_0  d f16, h u32         the same, plus bit j of h as the fifth bit of code j
//	Q5_1  d f16, m f16, h u32  the same
//	Q8_0  d f16                32 signed bytes
var (
	Q4_0 = &Layout{Name: "Q4_0", Cols: 32, Bytes: 18, Scheme: intScheme(4, 32, false), Packs: true, float16Offsets: scaleOnly, unpack: unpackPlain(4, 2)}
	Q4_1 = &Layout{Name: "Q4_1", Cols: 32, Bytes: 20, Scheme: intScheme(4, 32, true), Packs: true, float16Offsets: scaleMin, unpack: unpackPlain(4, 4)}
	Q5_0 = &Layout{Name: "Q5_0", Cols: 32, Bytes: 22, Scheme: intScheme(5, 32, false), Packs: true, float16Offsets: scaleOnly, unpack: unpackPlain(5, 2)}
	Q5_1 = &Layout{Name: "Q5_1", Cols: 32, Bytes: 24, Scheme: intScheme(5, 32, true), Packs: true, float16Offsets: scaleMin, unpack: unpackPlain(5, 4)}
	Q8_0 = &Layout{Name: "Q8_0", Cols: 32, Bytes: 34, Scheme: intScheme(8, 32, false), Packs: true, float16Offsets: scaleOnly, unpack: unpackPlain(8, 2)}
)

// Values of float16Offsets: a scale, and a scale followed by a minimum.
var scaleOnly, scaleMin = []int{0}, []int{0, 2}

func intScheme(bits, group int, asym bool) Scheme {
	return Scheme{Kind: Int, Bits: bits, Group: group, Asym: asym}
}

// Foreign returns the scheme of a matrix that is stored in l.
func (l *Layout) Foreign() Scheme { return Scheme{Kind: Foreign, Layout: l} }

// Native returns the scheme of this package that can hold the values of s without
// change: s itself unless it is Foreign. ok is false if none can, because the
// layout is Nested; the width, group and Asym of native still describe its codes.
func (s Scheme) Native() (native Scheme, ok bool) {
	if s.Kind != Foreign {
		return s, true
	}
	return s.Layout.Scheme, !s.Layout.Nested
}

// Rounding returns an integer scheme of as many bits as a code of s takes, for limits on
// the errors of rounding: s itself unless it is Foreign.
func (s Scheme) Rounding() Scheme {
	if s.Kind != Foreign {
		return s
	}
	l := s.Layout
	s = l.Scheme
	if l.width > 0 {
		s.Bits = l.width
	}
	return s
}

// float16Bits returns the bits of the block's float16 number i.
func (l *Layout) float16Bits(block []byte, i int) uint16 {
	return binary.LittleEndian.Uint16(block[l.float16Offsets[i]:])
}

// affine writes the scales and offsets of a block's groups. A code represents
// code*scale + offset.
func (l *Layout) affine(scale, offset []float32, block []byte) {
	if l.scales != nil {
		l.scales(scale, offset, block)
		return
	}
	scale[0] = FromFloat16(l.float16Bits(block, 0))
	if l.Scheme.Asym {
		offset[0] = FromFloat16(l.float16Bits(block, 1))
	} else {
		offset[0] = -float32(l.Scheme.Zero()) * scale[0]
	}
}

// nonFinite returns the first column of the first block of row that has a NaN or
// infinite float16, or -1. The other numbers of a block cannot be non-finite.
func (l *Layout) nonFinite(row []byte) int {
	for b := 0; len(row) > 0; b++ {
		if l.infinite != nil && l.infinite(row[:l.Bytes]) {
			return b * l.Cols
		}
		for i := range l.float16Offsets {
			if l.float16Bits(row, i)&0x7c00 == 0x7c00 {
				return b * l.Cols
			}
		}
		row = row[l.Bytes:]
	}
	return -1
}

// unpackPlain returns the unpack function of a layout with blocks of 32 codes,
// whose float16 numbers take header bytes.
func unpackPlain(bits, header int) func(codes []uint8, block []byte) {
	const low4, sign = 0x0f0f0f0f0f0f0f0f, 0x8080808080808080
	return func(codes []uint8, block []byte) {
		codes, b := codes[:32], block[header:]
		if bits == 8 {
			for j := 0; j < 32; j += 8 {
				binary.LittleEndian.PutUint64(codes[j:], binary.LittleEndian.Uint64(b[j:])^sign)
			}
			return
		}
		high := uint32(0)
		if bits == 5 {
			high, b = binary.LittleEndian.Uint32(b), b[4:]
		}
		for j := 0; j < 16; j += 8 {
			x := binary.LittleEndian.Uint64(b[j:])
			binary.LittleEndian.PutUint64(codes[j:], x&low4|fifthBits(high>>j))
			binary.LittleEndian.PutUint64(codes[j+16:], x>>4&low4|fifthBits(high>>(j+16)))
		}
	}
}

// fifthBits returns bit i of the low byte of x as bit 4 of byte i.
func fifthBits(x uint32) uint64 {
	const each, bit, low7 = 0x0101010101010101, 0x8040201008040201, 0x7f7f7f7f7f7f7f7f
	set := uint64(x&0xff) * each & bit // byte i is 1<<i or 0
	return (set&low7 + low7 | set) >> 7 & each << 4
}

// Writes reports whether AppendRow can write rows of s.
func (l *Layout) Writes(s Scheme) bool { return l.Packs && s == l.Scheme || l.short && s == short6 }

// AppendRow appends a row of blocks to dst, given what Reader.Codes returns of a row of a scheme
// that l Writes. The error says that scales do not fit.
func (l *Layout) AppendRow(dst []byte, codes []uint8, scales, mins []uint16) ([]byte, error) {
	if l.short {
		return l.appendShort(dst, codes, scales)
	}
	for g, d := range scales {
		dst = l.Append(dst, codes[g*l.Cols:], d, mins[g])
	}
	return dst, nil
}

// Append appends a block of 32 codes to dst. d and m are the float16 bits of the
// scale and the minimum; Append ignores m if the layout has no minimum. The layout
// must have Packs.
func (l *Layout) Append(dst []byte, codes []uint8, d, m uint16) []byte {
	codes = l.Scheme.indices(codes[:l.Cols])
	dst = binary.LittleEndian.AppendUint16(dst, d)
	if l.Scheme.Asym {
		dst = binary.LittleEndian.AppendUint16(dst, m)
	}
	switch l.Scheme.Bits {
	case 8:
		for _, c := range codes {
			dst = append(dst, c-128)
		}
		return dst
	case 5:
		high := uint32(0)
		for j, c := range codes {
			high |= uint32(c>>4) << j
		}
		dst = binary.LittleEndian.AppendUint32(dst, high)
	}
	for j, c := range codes[:l.Cols/2] {
		dst = append(dst, c&15|codes[j+l.Cols/2]<<4)
	}
	return dst
}
