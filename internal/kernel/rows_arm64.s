//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

#define ZERO4(a, b, c, d) \
	VEOR a.B16, a.B16, a.B16; \
	VEOR b.B16, b.B16, b.B16; \
	VEOR c.B16, c.B16, c.B16; \
	VEOR d.B16, d.B16, d.B16

// func dotNEON(a, b []float32) [16]float32
TEXT ·dotNEON(SB), NOSPLIT, $0-112
	MOVD a_base+0(FP), R0
	MOVD a_len+8(FP), R2
	MOVD b_base+24(FP), R1
	ZERO4(V0, V1, V2, V3)
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P 64(R1), [V20.S4, V21.S4, V22.S4, V23.S4]
	VFMLA  V16.S4, V20.S4, V0.S4
	VFMLA  V17.S4, V21.S4, V1.S4
	VFMLA  V18.S4, V22.S4, V2.S4
	VFMLA  V19.S4, V23.S4, V3.S4
	SUB    $1, R2
	CBNZ   R2, block

done:
	MOVD $ret_0+48(FP), R3
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	RET

// func dot64NEON(a, b []float64) [16]float64
TEXT ·dot64NEON(SB), NOSPLIT, $0-176
	MOVD a_base+0(FP), R0
	MOVD a_len+8(FP), R2
	MOVD b_base+24(FP), R1
	ZERO4(V0, V1, V2, V3)
	ZERO4(V4, V5, V6, V7)
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 64(R0), [V16.D2, V17.D2, V18.D2, V19.D2]
	VLD1.P 64(R1), [V20.D2, V21.D2, V22.D2, V23.D2]
	VFMLA  V16.D2, V20.D2, V0.D2
	VFMLA  V17.D2, V21.D2, V1.D2
	VFMLA  V18.D2, V22.D2, V2.D2
	VFMLA  V19.D2, V23.D2, V3.D2
	VLD1.P 64(R0), [V16.D2, V17.D2, V18.D2, V19.D2]
	VLD1.P 64(R1), [V20.D2, V21.D2, V22.D2, V23.D2]
	VFMLA  V16.D2, V20.D2, V4.D2
	VFMLA  V17.D2, V21.D2, V5.D2
	VFMLA  V18.D2, V22.D2, V6.D2
	VFMLA  V19.D2, V23.D2, V7.D2
	SUB    $1, R2
	CBNZ   R2, block

done:
	MOVD $ret_0+48(FP), R3
	VST1.P [V0.D2, V1.D2, V2.D2, V3.D2], 64(R3)
	VST1 [V4.D2, V5.D2, V6.D2, V7.D2], (R3)
	RET

// func sumNEON(x []float32) [16]float32
TEXT ·sumNEON(SB), NOSPLIT, $0-88
	MOVD x_base+0(FP), R0
	MOVD x_len+8(FP), R2
	ZERO4(V0, V1, V2, V3)
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	FADD(16, 0, 0)
	FADD(17, 1, 1)
	FADD(18, 2, 2)
	FADD(19, 3, 3)
	SUB    $1, R2
	CBNZ   R2, block

done:
	MOVD $ret_0+24(FP), R3
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R3)
	RET

// func maxNEON(x []float32) float32
TEXT ·maxNEON(SB), NOSPLIT, $0-28
	MOVD x_base+0(FP), R0
	MOVD x_len+8(FP), R2
	MOVD $0xff800000, R3
	VDUP R3, V0.S4
	VDUP R3, V1.S4
	VDUP R3, V2.S4
	VDUP R3, V3.S4
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMAX(16, 0, 0)
	FMAX(17, 1, 1)
	FMAX(18, 2, 2)
	FMAX(19, 3, 3)
	SUB    $1, R2
	CBNZ   R2, block

done:
	FMAX(1, 0, 0)
	FMAX(3, 2, 2)
	FMAX(2, 0, 0)
	FMAXV(0, 0)
	FMOVS F0, ret+24(FP)
	RET

// func divNEON(x []float32, d float32)
TEXT ·divNEON(SB), NOSPLIT, $0-28
	MOVD  x_base+0(FP), R0
	MOVD  x_len+8(FP), R2
	MOVWU d+24(FP), R3
	VDUP  R3, V31.S4
	LSR   $4, R2
	CBZ   R2, done

block:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	FDIV(31, 0, 0)
	FDIV(31, 1, 1)
	FDIV(31, 2, 2)
	FDIV(31, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

// func addNEON(dst, x []float32)
TEXT ·addNEON(SB), NOSPLIT, $0-48
	MOVD dst_base+0(FP), R0
	MOVD x_base+24(FP), R1
	MOVD x_len+32(FP), R2
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	FADD(16, 0, 0)
	FADD(17, 1, 1)
	FADD(18, 2, 2)
	FADD(19, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

// func scaleMulNEON(dst, x, weight []float32, r float32)
TEXT ·scaleMulNEON(SB), NOSPLIT, $0-76
	MOVD  dst_base+0(FP), R0
	MOVD  x_base+24(FP), R1
	MOVD  x_len+32(FP), R2
	MOVD  weight_base+48(FP), R3
	MOVWU r+72(FP), R4
	VDUP  R4, V31.S4
	LSR   $4, R2
	CBZ   R2, done

block:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R3), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMUL(31, 0, 0)
	FMUL(31, 1, 1)
	FMUL(31, 2, 2)
	FMUL(31, 3, 3)
	FMUL(16, 0, 0)
	FMUL(17, 1, 1)
	FMUL(18, 2, 2)
	FMUL(19, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

// ROTATE replaces x and y by x*c - y*s and y*c + x*s. It overwrites c, s and t.
#define ROTATE(x, y, c, s, t) \
	FMUL(s, x, t); \
	FMUL(c, x, x); \
	FMUL(c, y, c); \
	FMUL(s, y, s); \
	FSUB(s, x, x); \
	FADD(t, c, y)

// func rotateNEON(x, y, cos, sin []float32)
TEXT ·rotateNEON(SB), NOSPLIT, $0-96
	MOVD x_base+0(FP), R0
	MOVD x_len+8(FP), R2
	MOVD y_base+24(FP), R1
	MOVD cos_base+48(FP), R3
	MOVD sin_base+72(FP), R4
	LSR  $4, R2
	CBZ  R2, done

block:
	VLD1   (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1   (R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	VLD1.P 64(R3), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P 64(R4), [V20.S4, V21.S4, V22.S4, V23.S4]
	ROTATE(0, 4, 16, 20, 24)
	ROTATE(1, 5, 17, 21, 25)
	ROTATE(2, 6, 18, 22, 26)
	ROTATE(3, 7, 19, 23, 27)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R1)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET

#define FMLA4(m, n0, n1, n2, n3, d0, d1, d2, d3) \
	VFMLA m.S4, n0.S4, d0.S4; \
	VFMLA m.S4, n1.S4, d1.S4; \
	VFMLA m.S4, n2.S4, d2.S4; \
	VFMLA m.S4, n3.S4, d3.S4

// func mix64NEON(dst *float32, p []float32, v *float32, ldv int)
TEXT ·mix64NEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD p_base+8(FP), R1
	MOVD p_len+16(FP), R2
	MOVD v+32(FP), R3
	MOVD ldv+40(FP), R4
	LSL  $2, R4
	ZERO4(V0, V1, V2, V3)
	ZERO4(V4, V5, V6, V7)
	ZERO4(V8, V9, V10, V11)
	ZERO4(V12, V13, V14, V15)

row:
	VLD1R.P 4(R1), [V31.S4]
	MOVD    R3, R5
	VLD1.P  64(R5), [V16.S4, V17.S4, V18.S4, V19.S4]
	VLD1.P  64(R5), [V20.S4, V21.S4, V22.S4, V23.S4]
	FMLA4(V31, V16, V17, V18, V19, V0, V1, V2, V3)
	VLD1.P  64(R5), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMLA4(V31, V20, V21, V22, V23, V4, V5, V6, V7)
	VLD1    (R5), [V20.S4, V21.S4, V22.S4, V23.S4]
	FMLA4(V31, V16, V17, V18, V19, V8, V9, V10, V11)
	FMLA4(V31, V20, V21, V22, V23, V12, V13, V14, V15)
	ADD     R4, R3
	SUB     $1, R2
	CBNZ    R2, row

	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	VST1.P [V4.S4, V5.S4, V6.S4, V7.S4], 64(R0)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R0)
	VST1   [V12.S4, V13.S4, V14.S4, V15.S4], (R0)
	RET

// func mix16NEON(dst *float32, p []float32, v *float32, ldv int)
TEXT ·mix16NEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD p_base+8(FP), R1
	MOVD p_len+16(FP), R2
	MOVD v+32(FP), R3
	MOVD ldv+40(FP), R4
	LSL  $2, R4
	ZERO4(V0, V1, V2, V3)

row:
	VLD1R.P 4(R1), [V31.S4]
	VLD1    (R3), [V16.S4, V17.S4, V18.S4, V19.S4]
	FMLA4(V31, V16, V17, V18, V19, V0, V1, V2, V3)
	ADD     R4, R3
	SUB     $1, R2
	CBNZ    R2, row

	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R0)
	RET
