//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// ROWS loads eight columns of eight rows into V0 to V7.
#define ROWS \
	MOVD R1, R5; \
	VLD1.P (R5)(R2), [V0.B8]; \
	VLD1.P (R5)(R2), [V1.B8]; \
	VLD1.P (R5)(R2), [V2.B8]; \
	VLD1.P (R5)(R2), [V3.B8]; \
	VLD1.P (R5)(R2), [V4.B8]; \
	VLD1.P (R5)(R2), [V5.B8]; \
	VLD1.P (R5)(R2), [V6.B8]; \
	VLD1   (R5), [V7.B8]; \
	ADD    $8, R1

// SIGN subtracts 128 from the codes in V16 to V19.
#define SIGN \
	VEOR V31.B16, V16.B16, V16.B16; \
	VEOR V31.B16, V17.B16, V17.B16; \
	VEOR V31.B16, V18.B16, V18.B16; \
	VEOR V31.B16, V19.B16, V19.B16

#define INTERLEAVING \
	MOVD  panel+0(FP), R0; \
	MOVD  codes+8(FP), R1; \
	MOVD  stride+16(FP), R2; \
	MOVD  n+24(FP), R3; \
	LSR   $3, R3; \
	VMOVI $128, V31.B16

// func interleave4NEON(panel *int16, codes *byte, stride, n int)
TEXT ·interleave4NEON(SB), NOSPLIT, $0-32
	INTERLEAVING

columns:
	ROWS
	VZIP1  V1.S4, V0.S4, V20.S4
	VZIP1  V3.S4, V2.S4, V21.S4
	VZIP1  V5.S4, V4.S4, V22.S4
	VZIP1  V7.S4, V6.S4, V23.S4
	VZIP1  V21.D2, V20.D2, V16.D2
	VZIP1  V23.D2, V22.D2, V17.D2
	VZIP2  V21.D2, V20.D2, V18.D2
	VZIP2  V23.D2, V22.D2, V19.D2
	SIGN
	ADD    $64, R0, R4
	VST1   [V16.B16, V17.B16], (R0)
	VST1   [V18.B16, V19.B16], (R4)
	ADD    $128, R0
	SUB    $1, R3
	CBNZ   R3, columns
	RET

// func interleave8NEON(panel *int16, codes *byte, stride, n int)
TEXT ·interleave8NEON(SB), NOSPLIT, $0-32
	INTERLEAVING

columns:
	ROWS
	VZIP1  V1.D2, V0.D2, V16.D2
	VZIP1  V3.D2, V2.D2, V17.D2
	VZIP1  V5.D2, V4.D2, V18.D2
	VZIP1  V7.D2, V6.D2, V19.D2
	SIGN
	VST1   [V16.B16, V17.B16, V18.B16, V19.B16], (R0)
	ADD    $128, R0
	SUB    $1, R3
	CBNZ   R3, columns
	RET

// SHUFFLE merges the 16-bit lanes of registers four apart. Three of them transpose an
// (8, 8) matrix.
#define MERGE(a, b, x, y) \
	VZIP1 b.H8, a.H8, x.H8; \
	VZIP2 b.H8, a.H8, y.H8

#define SHUFFLE(a0, a1, a2, a3, a4, a5, a6, a7, b0, b1, b2, b3, b4, b5, b6, b7) \
	MERGE(a0, a4, b0, b1); \
	MERGE(a1, a5, b2, b3); \
	MERGE(a2, a6, b4, b5); \
	MERGE(a3, a7, b6, b7)

#define COLUMN(n) \
	FCVTL(n, 0); \
	FCVTL2(n, 1); \
	VST1 [V0.S4, V1.S4], (R0); \
	ADD  R1, R0

// func transposeF16NEON(dst *float32, ldd int, src *byte, stride, n int)
TEXT ·transposeF16NEON(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD ldd+8(FP), R1
	MOVD src+16(FP), R3
	MOVD stride+24(FP), R2
	MOVD n+32(FP), R4
	LSL  $2, R1
	LSR  $3, R4
	CBZ  R4, done

columns:
	MOVD   R3, R5
	VLD1.P (R5)(R2), [V0.H8]
	VLD1.P (R5)(R2), [V1.H8]
	VLD1.P (R5)(R2), [V2.H8]
	VLD1.P (R5)(R2), [V3.H8]
	VLD1.P (R5)(R2), [V4.H8]
	VLD1.P (R5)(R2), [V5.H8]
	VLD1.P (R5)(R2), [V6.H8]
	VLD1   (R5), [V7.H8]
	SHUFFLE(V0, V1, V2, V3, V4, V5, V6, V7, V16, V17, V18, V19, V20, V21, V22, V23)
	SHUFFLE(V16, V17, V18, V19, V20, V21, V22, V23, V0, V1, V2, V3, V4, V5, V6, V7)
	SHUFFLE(V0, V1, V2, V3, V4, V5, V6, V7, V16, V17, V18, V19, V20, V21, V22, V23)
	COLUMN(16)
	COLUMN(17)
	COLUMN(18)
	COLUMN(19)
	COLUMN(20)
	COLUMN(21)
	COLUMN(22)
	COLUMN(23)
	ADD    $16, R3
	SUB    $1, R4
	CBNZ   R4, columns

done:
	RET
