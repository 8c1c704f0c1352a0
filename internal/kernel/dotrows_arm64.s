//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "stripes_arm64.h"

// Products of a vector and rows of stored numbers, whose strides count bytes. READF32,
// READF16 and READBF16 widen half a block.

#define READF32(r, v0, v1, n0, n1) VLD1.P 32(r), [v0.S4, v1.S4]

#define READF16(r, v0, v1, n0, n1) \
	VLD1.P 16(r), [v0.H8]; \
	FCVTL2(n0, n1); \
	FCVTL(n0, n0)

#define READBF16(r, v0, v1, n0, n1) \
	VLD1.P 16(r), [v0.H8]; \
	SHLL2(n0, n1); \
	SHLL(n0, n0)

#define DOTPARAMS \
	MOVD c+0(FP), R0; \
	MOVD a+8(FP), R3; \
	MOVD b+16(FP), R5; \
	MOVD ldb+24(FP), R6; \
	MOVD n+32(FP), R8; \
	MOVD k+40(FP), R9; \
	LSR  $4, R9

// HALF6 adds the products of half a block and six rows.
#define HALF6(read, d00, d01, d10, d11, d20, d21, d30, d31, d40, d41, d50, d51) \
	VLD1.P 32(R13), [V24.S4, V25.S4]; \
	read(R14, V26, V27, 26, 27); \
	read(R15, V28, V29, 28, 29); \
	read(R19, V30, V31, 30, 31); \
	HALF(V24, V25, V26, V27, d00, d01); \
	HALF(V24, V25, V28, V29, d10, d11); \
	HALF(V24, V25, V30, V31, d20, d21); \
	read(R20, V26, V27, 26, 27); \
	read(R22, V28, V29, 28, 29); \
	read(R23, V30, V31, 30, 31); \
	HALF(V24, V25, V26, V27, d30, d31); \
	HALF(V24, V25, V28, V29, d40, d41); \
	HALF(V24, V25, V30, V31, d50, d51)

#define DOT6(read) \
	DOTPARAMS \
rows: \
	MOVD R3, R13; \
	MOVD R5, R14; \
	ADD  R6, R14, R15; \
	ADD  R6, R15, R19; \
	ADD  R6, R19, R20; \
	ADD  R6, R20, R22; \
	ADD  R6, R22, R23; \
	ADD  R6, R23, R5; \
	MOVD R9, R21; \
	ZERO6 \
block: \
	HALF6(read, V0, V1, V4, V5, V8, V9, V12, V13, V16, V17, V20, V21); \
	HALF6(read, V2, V3, V6, V7, V10, V11, V14, V15, V18, V19, V22, V23); \
	SUB    $1, R21; \
	CBNZ   R21, block; \
	JOIN6; \
	VST1.P [V30.S4], 16(R0); \
	VST1.P V31.D[0], 8(R0); \
	SUB    $1, R8; \
	CBNZ   R8, rows; \
	RET

#define DOT1(read) \
	DOTPARAMS \
rows: \
	MOVD R3, R13; \
	MOVD R5, R14; \
	ADD  R6, R5; \
	MOVD R9, R21; \
	ZERO(V0); ZERO(V1); ZERO(V2); ZERO(V3) \
block: \
	VLD1.P 64(R13), [V16.S4, V17.S4, V18.S4, V19.S4]; \
	read(R14, V20, V21, 20, 21); \
	read(R14, V22, V23, 22, 23); \
	HALF(V16, V17, V20, V21, V0, V1); \
	HALF(V18, V19, V22, V23, V2, V3); \
	SUB    $1, R21; \
	CBNZ   R21, block; \
	FOLD(0, 1, 2, 3); \
	HALVE(V0, V0, 4, 5, V4, V5); \
	FADDP(4, 4, 4); \
	VST1.P V4.S[0], 4(R0); \
	SUB    $1, R8; \
	CBNZ   R8, rows; \
	RET

// func dotF32x6NEON(c, a *float32, b *byte, ldb, n, k int)
TEXT ·dotF32x6NEON(SB), NOSPLIT, $0-48
	DOT6(READF32)

// func dotF32x1NEON(c, a *float32, b *byte, ldb, n, k int)
TEXT ·dotF32x1NEON(SB), NOSPLIT, $0-48
	DOT1(READF32)

// func dotF16x6NEON(c, a *float32, b *byte, ldb, n, k int)
TEXT ·dotF16x6NEON(SB), NOSPLIT, $0-48
	DOT6(READF16)

// func dotF16x1NEON(c, a *float32, b *byte, ldb, n, k int)
TEXT ·dotF16x1NEON(SB), NOSPLIT, $0-48
	DOT1(READF16)

// func dotBF16x6NEON(c, a *float32, b *byte, ldb, n, k int)
TEXT ·dotBF16x6NEON(SB), NOSPLIT, $0-48
	DOT6(READBF16)

// func dotBF16x1NEON(c, a *float32, b *byte, ldb, n, k int)
TEXT ·dotBF16x1NEON(SB), NOSPLIT, $0-48
	DOT1(READBF16)
