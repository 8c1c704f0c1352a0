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
	// Nested reports that scales and minimums are small integers times a float16
	// of the block. No Int scheme is equivalent to that.
	Nested bool

	float16Offsets []int // byte offsets of a block's float16 numbers
	// unpack writes the codes of a block, (Cols).
	unpack func(codes []uint8, block []byte)
	// scales writes the scales and offsets of a block, one of each for every
	// Scheme.Group columns. It is nil unless Nested: otherwise the block's float16
	// numbers are the scale and the minimum.
	scales func(scale, offset []float32, block []byte)
}

// The layouts of ggml (ggml-common.h, from block_q4_0 on; ggml-quants.c,
// dequantize_row_*). Every product of a scale and a code fits a float32, so only
// adding a minimum rounds, both in ggml and here.
//
//	Q4_0  d f16                16 bytes; byte j holds code j in its low and code j+16 in its high half
//	Q4_1  d f16, m f16         the same
//	Q5_0  d f16, h u32         the same, plus bit j of h as the fifth bit of code j
//	Q5_1  d f16, m f16, h u32  the same
//	Q8_0  d f16                32 signed bytes
//	Q4_K  d f16, m f16, 8 scales and 8 minimums of 6 bits in 12 bytes, 128 bytes
//	Q5_K  the same 16 bytes, 32 bytes of fifth bits, 128 bytes
//	Q6_K  128 bytes of low bits, 64 of high bits, 16 signed scales, d f16
var (
	Q4_0 = &Layout{Name: "Q4_0", Cols: 32, Bytes: 18, Scheme: intScheme(4, 32, false), float16Offsets: scaleOnly, unpack: unpackPlain(4, 2)}
	Q4_1 = &Layout{Name: "Q4_1", Cols: 32, Bytes: 20, Scheme: intScheme(4, 32, true), float16Offsets: scaleMin, unpack: unpackPlain(4, 4)}
	Q5_0 = &Layout{Name: "Q5_0", Cols: 32, Bytes: 22, Scheme: intScheme(5, 32, false), float16Offsets: scaleOnly, unpack: unpackPlain(5, 2)}
	Q5_1 = &Layout{Name: "Q5_1", Cols: 32, Bytes: 24, Scheme: intScheme(5, 32, true), float16Offsets: scaleMin, unpack: unpackPlain(5, 4)}
	Q8_0 = &Layout{Name: "Q8_0", Cols: 32, Bytes: 34, Scheme: intScheme(8, 32, false), float16Offsets: scaleOnly, unpack: unpackPlain(8, 2)}
	Q4_K = &Layout{Name: "Q4_K", Cols: 256, Bytes: 144, Scheme: intScheme(4, 32, true), Nested: true,
		float16Offsets: scaleMin, unpack: unpackQ4K, scales: scalesQ4K}
	Q5_K = &Layout{Name: "Q5_K", Cols: 256, Bytes: 176, Scheme: intScheme(5, 32, true), Nested: true,
		float16Offsets: scaleMin, unpack: unpackQ5K, scales: scalesQ4K}
	Q6_K = &Layout{Name: "Q6_K", Cols: 256, Bytes: 210, Scheme: intScheme(6, 16, false), Nested: true,
		float16Offsets: []int{208}, unpack: unpackQ6K, scales: scalesQ6K}
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

// float16Bits returns the bits of the block's float16 number i.
func (l *Layout) float16Bits(block []byte, i int) uint16 {
	return binary.LittleEndian.Uint16(block[l.float16Offsets[i]:])
}

// affine writes the scales and offsets of a block's groups. A code represents
// code*scale + offset.
func (l *Layout) affine(scale, offset []float32, block []byte) {
	if l.Nested {
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
	return func(codes []uint8, block []byte) {
		codes, b := codes[:32], block[header:]
		if bits == 8 {
			for j, c := range b[:32] {
				codes[j] = c + 128
			}
			return
		}
		if bits == 5 {
			high := binary.LittleEndian.Uint32(b)
			for j, c := range b[4:20] {
				codes[j] = c&15 | uint8(high>>j&1)<<4
				codes[j+16] = c>>4 | uint8(high>>(j+16)&1)<<4
			}
			return
		}
		for j, c := range b[:16] {
			codes[j], codes[j+16] = c&15, c>>4
		}
	}
}

// Append appends a block of 32 codes to dst. d and m are the float16 bits of the
// scale and the minimum; Append ignores m if the layout has no minimum. The
// layout must not be Nested.
func (l *Layout) Append(dst []byte, codes []uint8, d, m uint16) []byte {
	codes = codes[:l.Cols]
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

// unpackQ4K unpacks 4 runs of 32 bytes. A run holds 32 codes in the low halves
// of its bytes and the next 32 in the high halves.
func unpackQ4K(codes []uint8, block []byte) {
	for run := range 4 {
		low, high := codes[64*run:][:32], codes[64*run+32:][:32]
		for j, c := range block[16+32*run:][:32] {
			low[j], high[j] = c&15, c>>4
		}
	}
}

// unpackQ5K unpacks the low 4 bits as unpackQ4K does. The fifth bit of code j of
// group g is bit g of byte j of fifth.
func unpackQ5K(codes []uint8, block []byte) {
	fifth := block[16:48]
	unpackQ4K(codes, block[32:])
	for g := range 8 {
		group := codes[32*g:][:32]
		for j, h := range fifth {
			group[j] |= h >> g & 1 << 4
		}
	}
}

// scalesQ4K reads 6-bit scales and minimums. Those of groups 0 to 3 are the low 6
// bits of a byte. Those of group g from 4 to 7 are split: their upper two bits are
// the top bits of the bytes of group g-4.
func scalesQ4K(scale, offset []float32, block []byte) {
	d, m := FromFloat16(binary.LittleEndian.Uint16(block)), FromFloat16(binary.LittleEndian.Uint16(block[2:]))
	b := block[4:16]
	for g := range 8 {
		var s, minimum uint8
		if g < 4 {
			s, minimum = b[g]&63, b[g+4]&63
		} else {
			s, minimum = b[g+4]&15|b[g-4]>>6<<4, b[g+4]>>4|b[g]>>6<<4
		}
		scale[g], offset[g] = d*float32(s), -(m * float32(minimum))
	}
}

// unpackQ6K unpacks 2 runs of 128 codes. A run has 64 bytes for the low 4 bits
// and 32 bytes for the high 2 bits.
func unpackQ6K(codes []uint8, block []byte) {
	for half := range 2 {
		low, high, out := block[64*half:][:64], block[128+32*half:][:32], codes[128*half:][:128]
		for j, h := range high {
			a, b := low[j], low[j+32]
			out[j] = a&15 | h&3<<4
			out[j+32] = b&15 | h>>2&3<<4
			out[j+64] = a>>4 | h>>4&3<<4
			out[j+96] = b>>4 | h>>6<<4
		}
	}
}

// scalesQ6K reads a signed byte for every 16 codes. The codes represent -32 to
// 31.
func scalesQ6K(scale, offset []float32, block []byte) {
	d := FromFloat16(binary.LittleEndian.Uint16(block[208:]))
	for g, s := range block[192:208] {
		scale[g] = d * float32(int8(s))
		offset[g] = -32 * scale[g]
	}
}
