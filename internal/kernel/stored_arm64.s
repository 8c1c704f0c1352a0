//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// Products of eight rows of packed codes and one position of activations. V0 to V7
// hold the sums of a segment, V8 and V9 the outputs. For each row in turn, decoding
// leaves a block's codes in V18 and V19, in the order of the activations in V16 and
// V17. It overwrites V20 to V23.

// PARAMS loads the arguments. R14 becomes the bytes of eight rows, which the
// pointers to planes advance in each block.
#define PARAMS \
	MOVD  tile+0(FP), R0; \
	MOVD  codes+8(FP), R1; \
	MOVD  stride+16(FP), R2; \
	MOVD  blocks+24(FP), R3; \
	MOVD  a+32(FP), R4; \
	MOVD  columns+40(FP), R5; \
	MOVD  segments+48(FP), R6; \
	MOVD  sums+56(FP), R7; \
	MOVWU offset+64(FP), R8; \
	MOVD  scale+72(FP), R9; \
	MOVD  d+80(FP), R10; \
	MOVD  minScale+88(FP), R11; \
	MOVD  min+96(FP), R12; \
	VDUP  R8, V10.S4; \
	LSL   $3, R2, R14

// FIRST sets step to what moves the pointer of a plane from the end of a block's
// rows to the next block. A block of a row has the given bytes.
#define FIRST(bytes, step) \
	SUB R14, ZR, step; \
	ADD $bytes, step

// NEXT is FIRST for the plane at plane, which follows the given bytes of each block.
#define NEXT(before, plane, bytes, step) \
	MOVD $before, R15; \
	MADD R15, R1, R3, plane; \
	FIRST(bytes, step)

#define MASK(byte, v) VMOVI $byte, v.B16

// BITS sets the constants of ONE: the shifts of even and odd columns, and the mask.
#define BITS(even, odd, mask) \
	MOVD $even, R15; \
	VDUP R15, V28.S4; \
	MOVD $odd, R15; \
	VDUP R15, V27.S4; \
	MASK(mask, V26); \
	MOVD $0x0101010100000000, R15; \
	VMOV R15, V29.D[0]; \
	MOVD $0x0303030302020202, R15; \
	VMOV R15, V29.D[1]

// EIGHT reads codes of 8 bits, and subtracts 128. V31 is 128.
#define EIGHT \
	VLD1.P (R1)(R2), [V18.B16, V19.B16]; \
	VEOR   V31.B16, V18.B16, V18.B16; \
	VEOR   V31.B16, V19.B16, V19.B16

// FOUR reads codes, or their low parts, of 4 bits. V31 is 15.
#define FOUR \
	VLD1.P (R1)(R2), [V18.B16]; \
	VUSHR  $4, V18.B16, V19.B16; \
	VAND   V31.B16, V18.B16, V18.B16

// TWO reads codes, or their low parts, of 2 bits. V30 is 3.
#define TWO \
	VLD1.P (R1)(R2), [V18.B8]; \
	VUSHR  $4, V18.B16, V19.B16; \
	VZIP1  V19.B16, V18.B16, V18.B16; \
	VUSHR  $2, V18.B16, V19.B16; \
	VAND   V30.B16, V18.B16, V18.B16; \
	VAND   V30.B16, V19.B16, V19.B16

#define OR \
	VORR V20.B16, V18.B16, V18.B16; \
	VORR V21.B16, V19.B16, V19.B16

// TWOHIGH adds two bits from R13 above the lowest four. V30 is 3<<4.
#define TWOHIGH \
	VLD1.P (R13)(R2), [V20.B8]; \
	VUSHR  $4, V20.B16, V21.B16; \
	VZIP1  V21.B16, V20.B16, V20.B16; \
	VSHL   $2, V20.B16, V21.B16; \
	VSHL   $4, V20.B16, V20.B16; \
	VAND   V30.B16, V20.B16, V20.B16; \
	VAND   V30.B16, V21.B16, V21.B16; \
	OR

// ONE adds the highest bit, from plane. Byte i of a register gets bits 2*(i%4) and
// 2*(i%4)+1 of byte i/4 of the plane.
#define ONE(plane) \
	VLD1R.P (plane)(R2), [V20.S4]; \
	VTBL    V29.B16, [V20.B16], V20.B16; \
	USHL(27, 20, 21); \
	USHL(28, 20, 20); \
	VAND    V26.B16, V20.B16, V20.B16; \
	VAND    V26.B16, V21.B16, V21.B16; \
	OR

#define DECODE2 TWO
#define DECODE3 TWO; ONE(R13)
#define DECODE4 FOUR
#define DECODE5 FOUR; ONE(R13)
#define DECODE6 FOUR; TWOHIGH
#define DECODE7 FOUR; TWOHIGH; ONE(R22)
#define DECODE8 EIGHT

// DOT adds the products of a row to its sums.
#define DOT(d) \
	SDOT(16, 18, d); \
	SDOT(17, 19, d)

// MULL is DOT without SDOT. The sum of two products is at most 128*127*2, which fits
// 16 bits.
#define MULL(d) \
	SMULL(16, 18, 20); \
	SMULL(17, 19, 21); \
	SMLAL2(16, 18, 20); \
	SMLAL2(17, 19, 21); \
	SADALP(20, d); \
	SADALP(21, d)

#define ZERO(v) VEOR v.B16, v.B16, v.B16

// HALVES sets the lanes of a register to the products of a row's first 16 columns, twice, and
// of the last 16, twice. DOTHALVES is the same with SDOT, and the ones with 8 are for the
// natural order of columns.
#define HALVES(d) \
	SMULL(16, 18, 20); \
	SMULL2(16, 18, 21); \
	SMLAL(17, 19, 20); \
	SMLAL2(17, 19, 21); \
	SUMHALVES(d)

#define HALVES8(d) \
	SMULL(16, 18, 20); \
	SMULL(17, 19, 21); \
	SMLAL2(16, 18, 20); \
	SMLAL2(17, 19, 21); \
	SUMHALVES(d)

#define SUMHALVES(d) \
	SADDLP(20, 20); \
	SADDLP(21, 21); \
	ADDP(21, 20, d)

#define DOTHALVES(d) \
	MOVI0(d); \
	DOT(d)

#define DOTHALVES8(d) \
	MOVI0(20); \
	MOVI0(21); \
	SDOT(16, 18, 20); \
	SDOT(17, 19, 21); \
	ADDP(21, 20, d)

// ROWS decodes a block of eight rows, and multiplies each.
#define ROWS(decode, dot) \
	VLD1.P 32(R4), [V16.B16, V17.B16]; \
	decode; dot(0); \
	decode; dot(1); \
	decode; dot(2); \
	decode; dot(3); \
	decode; dot(4); \
	decode; dot(5); \
	decode; dot(6); \
	decode; dot(7); \
	ADD    R19, R1; \
	ADD    R20, R13; \
	ADD    R21, R22

// TERMS adds the terms of a segment to the outputs, given the sums of rows 0 to 3 in Va and of
// 4 to 7 in Vb. The label end is its own.
#define TERMS(a, b, end) \
	VLD1R.P 4(R7), [V16.S4]; \
	IMLA(10, 16, a); \
	IMLA(10, 16, b); \
	SCVTF(a, a); \
	SCVTF(b, b); \
	VLD1.P  32(R10), [V16.S4, V17.S4]; \
	FMUL(16, a, a); \
	FMUL(17, b, b); \
	VLD1R.P 4(R9), [V18.S4]; \
	FMLA(18, a, 8); \
	FMLA(18, b, 9); \
	CBZ     R12, end; \
	VLD1.P  32(R12), [V16.S4, V17.S4]; \
	VLD1R.P 4(R11), [V18.S4]; \
	FMLA(18, 16, 8); \
	FMLA(18, 17, 9) \
end:

// STORED is the loop over segments and blocks. Segments of half a block take two terms from
// each block.
#define STORED(decode, dot, halves) \
	ZERO(V8); \
	ZERO(V9); \
	MOVWU (R5), R3; \
	CMP   $32, R3; \
	BLT   half \
segment: \
	ZERO(V0); ZERO(V1); ZERO(V2); ZERO(V3); \
	ZERO(V4); ZERO(V5); ZERO(V6); ZERO(V7); \
	MOVWU.P 4(R5), R3 \
block: \
	ROWS(decode, dot); \
	SUB   $32, R3; \
	CBNZ  R3, block; \
	VADDP V1.S4, V0.S4, V0.S4; \
	VADDP V3.S4, V2.S4, V2.S4; \
	VADDP V5.S4, V4.S4, V4.S4; \
	VADDP V7.S4, V6.S4, V6.S4; \
	VADDP V2.S4, V0.S4, V0.S4; \
	VADDP V6.S4, V4.S4, V4.S4; \
	TERMS(0, 4, next) \
	SUB  $1, R6; \
	CBNZ R6, segment; \
	JMP  store \
half: \
	ROWS(decode, halves); \
	VADDP V1.S4, V0.S4, V0.S4; \
	VADDP V3.S4, V2.S4, V2.S4; \
	VADDP V5.S4, V4.S4, V4.S4; \
	VADDP V7.S4, V6.S4, V6.S4; \
	VUZP1 V2.S4, V0.S4, V1.S4; \
	VUZP2 V2.S4, V0.S4, V3.S4; \
	VUZP1 V6.S4, V4.S4, V5.S4; \
	VUZP2 V6.S4, V4.S4, V7.S4; \
	TERMS(1, 5, second) \
	TERMS(3, 7, after) \
	SUB  $2, R6; \
	CBNZ R6, half \
store: \
	VST1 [V8.S4, V9.S4], (R0); \
	RET

#define PLANES2 \
	FIRST(8, R19); \
	MASK(3, V30)

#define PLANES3 \
	PLANES2; \
	NEXT(8, R13, 4, R20); \
	BITS(0xfcfe0002, 0xfbfdff01, 4)

#define PLANES4 \
	FIRST(16, R19); \
	MASK(15, V31)

#define PLANES5 \
	PLANES4; \
	NEXT(16, R13, 4, R20); \
	BITS(0xfe000204, 0xfdff0103, 16)

#define PLANES6 \
	PLANES4; \
	NEXT(16, R13, 8, R20); \
	MASK(48, V30)

#define PLANES7 \
	PLANES6; \
	NEXT(24, R22, 4, R21); \
	BITS(0x00020406, 0xff010305, 64)

#define PLANES8 \
	FIRST(32, R19); \
	MASK(128, V31)

// func stored2NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored2NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES2
	STORED(DECODE2, MULL, HALVES)

// func stored3NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored3NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES3
	STORED(DECODE3, MULL, HALVES)

// func stored4NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored4NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES4
	STORED(DECODE4, MULL, HALVES)

// func stored5NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored5NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES5
	STORED(DECODE5, MULL, HALVES)

// func stored6NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored6NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES6
	STORED(DECODE6, MULL, HALVES)

// func stored7NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored7NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES7
	STORED(DECODE7, MULL, HALVES)

// func stored8NEON(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored8NEON(SB), NOSPLIT, $0-112
	PARAMS
	PLANES8
	STORED(DECODE8, MULL, HALVES8)

// func stored2SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored2SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES2
	STORED(DECODE2, DOT, DOTHALVES)

// func stored3SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored3SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES3
	STORED(DECODE3, DOT, DOTHALVES)

// func stored4SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored4SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES4
	STORED(DECODE4, DOT, DOTHALVES)

// func stored5SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored5SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES5
	STORED(DECODE5, DOT, DOTHALVES)

// func stored6SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored6SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES6
	STORED(DECODE6, DOT, DOTHALVES)

// func stored7SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored7SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES7
	STORED(DECODE7, DOT, DOTHALVES)

// func stored8SDOT(tile *float32, codes *byte, stride, blocks int, a *int8, columns *int32, segments int, sums *int32, offset int32, scale, d, minScale, min *float32, positions int)
TEXT ·stored8SDOT(SB), NOSPLIT, $0-112
	PARAMS
	PLANES8
	STORED(DECODE8, DOT, DOTHALVES8)
