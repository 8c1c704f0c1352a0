//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"
#include "stripes_arm64.h"

// PARAMS loads the arguments and converts strides to bytes and k to blocks.
#define PARAMS \
	MOVD c+0(FP), R0; \
	MOVD rs+8(FP), R1; \
	MOVD cs+16(FP), R2; \
	MOVD a+24(FP), R3; \
	MOVD lda+32(FP), R4; \
	MOVD b+40(FP), R5; \
	MOVD ldb+48(FP), R6; \
	MOVD m+56(FP), R7; \
	MOVD n+64(FP), R8; \
	MOVD k+72(FP), R9; \
	LSL  $2, R1; \
	LSL  $2, R2; \
	LSL  $2, R4; \
	LSL  $2, R6; \
	LSR  $4, R9

// func tile2x3NEON(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)
TEXT ·tile2x3NEON(SB), NOSPLIT, $0-80
	PARAMS

rows:
	MOVD R5, R10 // b
	MOVD R0, R11 // c
	MOVD R8, R12 // groups left in n

cols:
	MOVD R3, R13
	ADD  R4, R13, R14
	MOVD R10, R15
	ADD  R6, R15, R19
	ADD  R6, R19, R20
	MOVD R9, R21
	ZERO6

block:
	VLD1.P 32(R13), [V24.S4, V25.S4]
	VLD1.P 32(R14), [V26.S4, V27.S4]
	VLD1.P 32(R15), [V28.S4, V29.S4]
	VLD1.P 32(R19), [V30.S4, V31.S4]
	HALF(V24, V25, V28, V29, V0, V1)
	HALF(V26, V27, V28, V29, V12, V13)
	VLD1.P 32(R20), [V28.S4, V29.S4]
	HALF(V24, V25, V30, V31, V4, V5)
	HALF(V26, V27, V30, V31, V16, V17)
	HALF(V24, V25, V28, V29, V8, V9)
	HALF(V26, V27, V28, V29, V20, V21)
	VLD1.P 32(R13), [V24.S4, V25.S4]
	VLD1.P 32(R14), [V26.S4, V27.S4]
	VLD1.P 32(R15), [V28.S4, V29.S4]
	VLD1.P 32(R19), [V30.S4, V31.S4]
	HALF(V24, V25, V28, V29, V2, V3)
	HALF(V26, V27, V28, V29, V14, V15)
	VLD1.P 32(R20), [V28.S4, V29.S4]
	HALF(V24, V25, V30, V31, V6, V7)
	HALF(V26, V27, V30, V31, V18, V19)
	HALF(V24, V25, V28, V29, V10, V11)
	HALF(V26, V27, V28, V29, V22, V23)
	SUB  $1, R21
	CBNZ R21, block

	JOIN6
	MOVD R11, R13
	ADD  R1, R13, R14
	VST1 V30.S[0], (R13)
	VST1 V30.S[3], (R14)
	ADD  R2, R13
	ADD  R2, R14
	VST1 V30.S[1], (R13)
	VST1 V31.S[0], (R14)
	ADD  R2, R13
	ADD  R2, R14
	VST1 V30.S[2], (R13)
	VST1 V31.S[1], (R14)

	ADD  R2, R13, R11
	ADD  R6, R10
	ADD  R6<<1, R10
	SUB  $1, R12
	CBNZ R12, cols

	ADD  R4<<1, R3
	ADD  R1<<1, R0
	SUB  $1, R7
	CBNZ R7, rows
	RET

// func tile1x6NEON(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)
TEXT ·tile1x6NEON(SB), NOSPLIT, $0-80
	PARAMS

rows:
	MOVD R5, R10
	MOVD R0, R11
	MOVD R8, R12

cols:
	MOVD R3, R13
	MOVD R10, R14
	ADD  R6, R14, R15
	ADD  R6, R15, R19
	ADD  R6, R19, R20
	ADD  R6, R20, R22
	ADD  R6, R22, R23
	MOVD R9, R21
	ZERO6

block:
	VLD1.P 32(R13), [V24.S4, V25.S4]
	VLD1.P 32(R14), [V26.S4, V27.S4]
	VLD1.P 32(R15), [V28.S4, V29.S4]
	VLD1.P 32(R19), [V30.S4, V31.S4]
	HALF(V24, V25, V26, V27, V0, V1)
	VLD1.P 32(R20), [V26.S4, V27.S4]
	HALF(V24, V25, V28, V29, V4, V5)
	VLD1.P 32(R22), [V28.S4, V29.S4]
	HALF(V24, V25, V30, V31, V8, V9)
	VLD1.P 32(R23), [V30.S4, V31.S4]
	HALF(V24, V25, V26, V27, V12, V13)
	HALF(V24, V25, V28, V29, V16, V17)
	HALF(V24, V25, V30, V31, V20, V21)
	VLD1.P 32(R13), [V24.S4, V25.S4]
	VLD1.P 32(R14), [V26.S4, V27.S4]
	VLD1.P 32(R15), [V28.S4, V29.S4]
	VLD1.P 32(R19), [V30.S4, V31.S4]
	HALF(V24, V25, V26, V27, V2, V3)
	VLD1.P 32(R20), [V26.S4, V27.S4]
	HALF(V24, V25, V28, V29, V6, V7)
	VLD1.P 32(R22), [V28.S4, V29.S4]
	HALF(V24, V25, V30, V31, V10, V11)
	VLD1.P 32(R23), [V30.S4, V31.S4]
	HALF(V24, V25, V26, V27, V14, V15)
	HALF(V24, V25, V28, V29, V18, V19)
	HALF(V24, V25, V30, V31, V22, V23)
	SUB  $1, R21
	CBNZ R21, block

	JOIN6
	VST1 V30.S[0], (R11)
	ADD  R2, R11
	VST1 V30.S[1], (R11)
	ADD  R2, R11
	VST1 V30.S[2], (R11)
	ADD  R2, R11
	VST1 V30.S[3], (R11)
	ADD  R2, R11
	VST1 V31.S[0], (R11)
	ADD  R2, R11
	VST1 V31.S[1], (R11)
	ADD  R2, R11

	ADD  R6, R23, R10 // b of the next six rows: the last pointer has advanced k blocks along its row
	SUB  R9<<6, R10
	SUB  $1, R12
	CBNZ R12, cols

	ADD  R4, R3
	ADD  R1, R0
	SUB  $1, R7
	CBNZ R7, rows
	RET

// func tile1x1NEON(c *float32, rs, cs int, a *float32, lda int, b *float32, ldb int, m, n, k int)
TEXT ·tile1x1NEON(SB), NOSPLIT, $0-80
	PARAMS

rows:
	MOVD R5, R10
	MOVD R0, R11
	MOVD R8, R12

cols:
	MOVD R3, R13
	MOVD R10, R14
	MOVD R9, R21
	ZERO(V0)
	ZERO(V1)
	ZERO(V2)
	ZERO(V3)

block:
	VLD1.P 64(R13), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P 64(R14), [V20.S4, V21.S4, V22.S4, V23.S4]
	HALF(V16, V17, V20, V21, V0, V1)
	HALF(V18, V19, V22, V23, V2, V3)
	SUB    $1, R21
	CBNZ   R21, block

	FOLD(0, 1, 2, 3)
	HALVE(V0, V0, 4, 5, V4, V5)
	FADDP(4, 4, 4)
	VST1 V4.S[0], (R11)

	ADD  R2, R11
	ADD  R6, R10
	SUB  $1, R12
	CBNZ R12, cols

	ADD  R4, R3
	ADD  R1, R0
	SUB  $1, R7
	CBNZ R7, rows
	RET
