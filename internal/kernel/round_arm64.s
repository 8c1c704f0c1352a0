//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

#define ROUNDING \
	MOVD  dst_base+0(FP), R0; \
	MOVD  x_base+24(FP), R1; \
	MOVD  x_len+32(FP), R2; \
	MOVWU inverse+48(FP), R3; \
	MOVBU split+52(FP), R4; \
	VDUP  R3, V31.S4; \
	VEOR  V24.B16, V24.B16, V24.B16; \
	VEOR  V25.B16, V25.B16, V25.B16; \
	LSR   $5, R2; \
	CBZ   R2, done

#define ROUND(x, sum) \
	FMUL(31, x, x); \
	FCVTNS(x, x); \
	IADD(x, sum, sum)

// ROUND32 rounds 32 elements to 16-bit integers in V16 to V19 and adds them to V24
// and V25.
#define ROUND32 \
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]; \
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]; \
	ROUND(0, 24); \
	ROUND(1, 25); \
	ROUND(2, 24); \
	ROUND(3, 25); \
	ROUND(4, 24); \
	ROUND(5, 25); \
	ROUND(6, 24); \
	ROUND(7, 25); \
	VUZP1  V1.H8, V0.H8, V16.H8; \
	VUZP1  V3.H8, V2.H8, V17.H8; \
	VUZP1  V5.H8, V4.H8, V18.H8; \
	VUZP1  V7.H8, V6.H8, V19.H8

// TOTAL moves the sum to R3.
#define TOTAL \
	IADD(25, 24, 24); \
	VADDV V24.S4, V24; \
	VMOV  V24.S[0], R3

// func round8NEON(dst []int8, x []float32, inverse float32, split bool) int32
TEXT ·round8NEON(SB), NOSPLIT, $0-60
	ROUNDING

block:
	ROUND32
	VUZP1 V17.B16, V16.B16, V0.B16
	VUZP1 V19.B16, V18.B16, V1.B16
	CBZ   R4, store
	VUZP1 V1.B16, V0.B16, V2.B16
	VUZP2 V1.B16, V0.B16, V1.B16
	MOVV(2, 0)

store:
	VST1.P [V0.B16, V1.B16], 32(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	TOTAL
	MOVW R3, ret+56(FP)
	RET

// func round16NEON(dst []int16, x []float32, inverse float32, split bool) int32
TEXT ·round16NEON(SB), NOSPLIT, $0-60
	ROUNDING

block:
	ROUND32
	VST1.P [V16.H8, V17.H8, V18.H8, V19.H8], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	TOTAL
	MOVW R3, ret+56(FP)
	RET

// func maxAbsNEON(x []float32) [16]float32
TEXT ·maxAbsNEON(SB), NOSPLIT, $0-88
	MOVD x_base+0(FP), R0
	MOVD x_len+8(FP), R2
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	VEOR V2.B16, V2.B16, V2.B16
	VEOR V3.B16, V3.B16, V3.B16
	MOVD $0x7fffffff, R3
	VDUP R3, V31.S4
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VAND   V31.B16, V16.B16, V16.B16
	VAND   V31.B16, V17.B16, V17.B16
	VAND   V31.B16, V18.B16, V18.B16
	VAND   V31.B16, V19.B16, V19.B16
	VUMAX  V16.S4, V0.S4, V0.S4
	VUMAX  V17.S4, V1.S4, V1.S4
	VUMAX  V18.S4, V2.S4, V2.S4
	VUMAX  V19.S4, V3.S4, V3.S4
	SUB    $1, R2
	CBNZ   R2, block

done:
	MOVD $ret_0+24(FP), R3
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	RET
