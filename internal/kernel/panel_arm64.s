//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// Products of a panel of 16 rows of codes, which are signed bytes, and one or four
// positions. V0 to V15 hold the sums of a segment.

#define PARAMS \
	MOVD y+0(FP), R0; \
	MOVD ldy+8(FP), R1; \
	MOVD panel+16(FP), R2; \
	MOVD x+24(FP), R3; \
	MOVD ldx+32(FP), R16; \
	MOVD columns+40(FP), R7; \
	MOVD segments+48(FP), R8; \
	MOVD sums+56(FP), R9; \
	MOVW offset+64(FP), R10; \
	MOVD d+72(FP), R11; \
	MOVD scale+80(FP), R12; \
	MOVD lds+88(FP), R13; \
	MOVD min+96(FP), R14; \
	MOVD minScale+104(FP), R15; \
	ADD  R16<<1, R3, R4; \
	ADD  R16<<1, R4, R5; \
	ADD  R16<<1, R5, R6; \
	LSL  $2, R1; \
	LSL  $2, R13

#define ZERO(v) VEOR v.B16, v.B16, v.B16
#define ZERO4(a, b, c, d) ZERO(a); ZERO(b); ZERO(c); ZERO(d)
#define ZERO8 ZERO4(V0, V1, V2, V3); ZERO4(V4, V5, V6, V7)
#define ZERO16 ZERO8; ZERO4(V8, V9, V10, V11); ZERO4(V12, V13, V14, V15)

// CLEAR sets the outputs of the position at R20 to 0 and goes to the next.
#define CLEAR \
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R20); \
	ADD  R1, R20

#define CLEAR1 MOVD R0, R20; ZERO4(V0, V1, V2, V3); CLEAR
#define CLEAR4 CLEAR1; CLEAR; CLEAR; CLEAR

// LOAD1 narrows eight columns of one position to V20, and LOAD4 those of four to V20
// and V21.
#define LOAD1 \
	VLD1.P 16(R3), [V22.B16]; \
	VUZP1  V22.B16, V22.B16, V20.B16

#define LOAD4 \
	VLD1.P 16(R3), [V22.B16]; \
	VLD1.P 16(R4), [V23.B16]; \
	VLD1.P 16(R5), [V24.B16]; \
	VLD1.P 16(R6), [V25.B16]; \
	VUZP1  V23.B16, V22.B16, V20.B16; \
	VUZP1  V25.B16, V24.B16, V21.B16

// CODES loads 64 codes.
#define CODES VLD1.P 64(R2), [V16.B16, V17.B16, V18.B16, V19.B16]

// DOT adds the products of four columns, in V16 to V19, and a position, which is
// lane i of register x.
#define DOT(x, i, d0, d1, d2, d3) \
	SDOTE(x, i, 16, d0); \
	SDOTE(x, i, 17, d1); \
	SDOTE(x, i, 18, d2); \
	SDOTE(x, i, 19, d3)

// MULL is DOT without SDOT. The sum of two products is at most 128*127*2, which fits
// 16 bits.
#define MULL(x, i, d0, d1, d2, d3) \
	DUPE(x, i, 26); \
	MULL4(16, d0); \
	MULL4(17, d1); \
	MULL4(18, d2); \
	MULL4(19, d3)

#define MULL4(n, d) \
	SMULL(26, n, 27); \
	SMULL2(26, n, 28); \
	VADDP V28.H8, V27.H8, V27.H8; \
	SADALP(27, d)

// EIGHT1 and EIGHT4 add the products of eight columns, which the panel holds in
// groups of four columns.
#define EIGHT1(dot) \
	LOAD1; \
	CODES; \
	dot(20, 0, 0, 1, 2, 3); \
	CODES; \
	dot(20, 1, 0, 1, 2, 3)

#define EIGHT4(dot) \
	LOAD4; \
	CODES; \
	dot(20, 0, 0, 1, 2, 3); \
	dot(20, 2, 4, 5, 6, 7); \
	dot(21, 0, 8, 9, 10, 11); \
	dot(21, 2, 12, 13, 14, 15); \
	CODES; \
	dot(20, 1, 0, 1, 2, 3); \
	dot(20, 3, 4, 5, 6, 7); \
	dot(21, 1, 8, 9, 10, 11); \
	dot(21, 3, 12, 13, 14, 15)

// MATRIX1 and MATRIX4 are EIGHT1 and EIGHT4 with SMMLA, for a panel of groups of
// eight columns. A register of sums has two rows for each of two positions.
#define MATRIX1 \
	LOAD1; \
	CODES; \
	SMMLA(20, 16, 0); \
	SMMLA(20, 17, 1); \
	SMMLA(20, 18, 2); \
	SMMLA(20, 19, 3); \
	CODES; \
	SMMLA(20, 16, 4); \
	SMMLA(20, 17, 5); \
	SMMLA(20, 18, 6); \
	SMMLA(20, 19, 7)

#define MATRIX4 \
	LOAD4; \
	CODES; \
	SMMLA(20, 16, 0); \
	SMMLA(21, 16, 8); \
	SMMLA(20, 17, 1); \
	SMMLA(21, 17, 9); \
	SMMLA(20, 18, 2); \
	SMMLA(21, 18, 10); \
	SMMLA(20, 19, 3); \
	SMMLA(21, 19, 11); \
	CODES; \
	SMMLA(20, 16, 4); \
	SMMLA(21, 16, 12); \
	SMMLA(20, 17, 5); \
	SMMLA(21, 17, 13); \
	SMMLA(20, 18, 6); \
	SMMLA(21, 18, 14); \
	SMMLA(20, 19, 7); \
	SMMLA(21, 19, 15)

// PART moves one position's sums of eight rows from four registers of MATRIX4.
#define PART(uzp, a, b, c, d, x, y) \
	uzp b.S4, a.S4, x.S4; \
	uzp d.S4, c.S4, y.S4

// FACTORS points to the factors of the first position, and loads those of the rows.
#define FACTORS \
	MOVD   R0, R20; \
	MOVD   R9, R21; \
	MOVD   R12, R22; \
	VLD1.P 64(R11), [V20.S4, V21.S4, V22.S4, V23.S4]

// SCALE adds V28 to the sums of four rows and multiplies by their factors.
#define SCALE(x, d) \
	IADD(28, x, x); \
	SCVTF(x, x); \
	FMUL(d, x, x)

// ADDTERMS adds the factor in V28 times x to the outputs at R20 and goes to the next
// position.
#define ADDTERMS(x0, x1, x2, x3) \
	VLD1   (R20), [V29.S4, V30.S4]; \
	FMLA(28, x0, 29); \
	FMLA(28, x1, 30); \
	VST1.P [V29.S4, V30.S4], 32(R20); \
	VLD1   (R20), [V29.S4, V30.S4]; \
	FMLA(28, x2, 29); \
	FMLA(28, x3, 30); \
	VST1   [V29.S4, V30.S4], (R20); \
	SUB    $32, R20; \
	ADD    R1, R20

// ADDSUMS adds the term of one position: its sums, plus the offset times the sum of
// its activations, times the factors. It overwrites the sums.
#define ADDSUMS(x0, x1, x2, x3) \
	MOVW  (R21), R24; \
	ADD   R13, R21; \
	MULW  R10, R24, R24; \
	VDUP  R24, V28.S4; \
	SCALE(x0, 20); \
	SCALE(x1, 21); \
	SCALE(x2, 22); \
	SCALE(x3, 23); \
	VLD1R (R22), [V28.S4]; \
	ADD   R13, R22; \
	ADDTERMS(x0, x1, x2, x3)

// SUMS1 and SUMS4 add the terms of EIGHT1 and EIGHT4, JOIN1 and JOIN4 those of MATRIX1
// and MATRIX4.
#define SUMS1 FACTORS; ADDSUMS(0, 1, 2, 3)

#define SUMS4 \
	SUMS1; \
	ADDSUMS(4, 5, 6, 7); \
	ADDSUMS(8, 9, 10, 11); \
	ADDSUMS(12, 13, 14, 15)

#define JOIN1 \
	PART(VUZP1, V0, V1, V2, V3, V16, V17); \
	PART(VUZP1, V4, V5, V6, V7, V18, V19); \
	FACTORS; \
	ADDSUMS(16, 17, 18, 19)

#define JOIN4 \
	PART(VUZP2, V0, V1, V2, V3, V24, V25); \
	PART(VUZP2, V4, V5, V6, V7, V26, V27); \
	JOIN1; \
	ADDSUMS(24, 25, 26, 27); \
	PART(VUZP1, V8, V9, V10, V11, V16, V17); \
	PART(VUZP1, V12, V13, V14, V15, V18, V19); \
	PART(VUZP2, V8, V9, V10, V11, V24, V25); \
	PART(VUZP2, V12, V13, V14, V15, V26, V27); \
	ADDSUMS(16, 17, 18, 19); \
	ADDSUMS(24, 25, 26, 27)

// MIN adds the term of the rows' minimums for one position.
#define MIN \
	VLD1R (R22), [V28.S4]; \
	ADD   R13, R22; \
	ADDTERMS(20, 21, 22, 23)

#define MIN4 MIN; MIN; MIN; MIN

// TILE is the loop over segments and groups of eight columns.
#define TILE(clear, zero, eight, sums, mins) \
	PARAMS; \
	clear \
segment: \
	zero; \
	MOVWU.P 4(R7), R19; \
	LSR     $3, R19 \
columns: \
	eight; \
	SUB  $1, R19; \
	CBNZ R19, columns; \
	sums; \
	ADD  $4, R9; \
	ADD  $4, R12; \
	CBZ  R14, next; \
	MOVD R0, R20; \
	MOVD R15, R22; \
	VLD1.P 64(R14), [V20.S4, V21.S4, V22.S4, V23.S4]; \
	mins; \
	ADD  $4, R15 \
next: \
	SUB  $1, R8; \
	CBNZ R8, segment; \
	RET

// func panel1NEON(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
TEXT ·panel1NEON(SB), NOSPLIT, $0-112
	TILE(CLEAR1, ZERO8, EIGHT1(MULL), SUMS1, MIN)

// func panel4NEON(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
TEXT ·panel4NEON(SB), NOSPLIT, $0-112
	TILE(CLEAR4, ZERO16, EIGHT4(MULL), SUMS4, MIN4)

// func panel1SDOT(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
TEXT ·panel1SDOT(SB), NOSPLIT, $0-112
	TILE(CLEAR1, ZERO8, EIGHT1(DOT), SUMS1, MIN)

// func panel4SDOT(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
TEXT ·panel4SDOT(SB), NOSPLIT, $0-112
	TILE(CLEAR4, ZERO16, EIGHT4(DOT), SUMS4, MIN4)

// func panel1I8MM(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
TEXT ·panel1I8MM(SB), NOSPLIT, $0-112
	TILE(CLEAR1, ZERO8, MATRIX1, JOIN1, MIN)

// func panel4I8MM(y *float32, ldy int, panel, x *int16, ldx int, columns *int32, segments int, sums *int32, offset int32, d, scale *float32, lds int, min, minScale *float32)
TEXT ·panel4I8MM(SB), NOSPLIT, $0-112
	TILE(CLEAR4, ZERO16, MATRIX4, JOIN4, MIN4)
