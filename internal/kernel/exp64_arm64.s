//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// The constants of expSum64 in float64.go: those that stay in registers from V17 on, and
// expTerms, the last first.
DATA exp64<>+0(SB)/8, $0x4086380000000000 // 711
DATA exp64<>+8(SB)/8, $0xc087500000000000 // -746
DATA exp64<>+16(SB)/8, $0x3ff71547652b82fe // log2E64
DATA exp64<>+24(SB)/8, $0x3fe0000000000000 // 1/2
DATA exp64<>+32(SB)/8, $0x3fe62e42fefa0000 // ln2Hi64
DATA exp64<>+40(SB)/8, $0x3d7cf79abc9e3b3a // ln2Lo64
DATA exp64<>+48(SB)/8, $0x3ff0000000000000 // 1
DATA exp64<>+56(SB)/8, $1023
DATA exp64<>+64(SB)/8, $0x3de6124613a86d09 // 1/6227020800
DATA exp64<>+72(SB)/8, $0x3e21eed8eff8d898 // 1/479001600
DATA exp64<>+80(SB)/8, $0x3e5ae64567f544e4 // 1/39916800
DATA exp64<>+88(SB)/8, $0x3e927e4fb7789f5c // 1/3628800
DATA exp64<>+96(SB)/8, $0x3ec71de3a556c734 // 1/362880
DATA exp64<>+104(SB)/8, $0x3efa01a01a01a01a // 1/40320
DATA exp64<>+112(SB)/8, $0x3f2a01a01a01a01a // 1/5040
DATA exp64<>+120(SB)/8, $0x3f56c16c16c16c17 // 1/720
DATA exp64<>+128(SB)/8, $0x3f81111111111111 // 1/120
DATA exp64<>+136(SB)/8, $0x3fa5555555555555 // 1/24
DATA exp64<>+144(SB)/8, $0x3fc5555555555555 // 1/6
DATA exp64<>+152(SB)/8, $0x3fe0000000000000 // 1/2
GLOBL exp64<>(SB), RODATA|NOPTR, $160

// Macros of four registers each: values in V0 to V3, and scratch in V4 to V7, V8 to V11
// and V12 to V15.
#define EACH3(op, m, n, d) \
	op(m, n, d); \
	op(m, (n+1), (d+1)); \
	op(m, (n+2), (d+2)); \
	op(m, (n+3), (d+3))

#define EACH4(op, m, n, d) \
	op(m, n, d); \
	op((m+1), (n+1), (d+1)); \
	op((m+2), (n+2), (d+2)); \
	op((m+3), (n+3), (d+3))

#define EACH2(op, n, d) \
	op(n, d); \
	op((n+1), (d+1)); \
	op((n+2), (d+2)); \
	op((n+3), (d+3))

// TERM multiplies V8 to V11 by V12 to V15 and adds the next term.
#define TERM \
	VLD1R.P 8(R5), [V25.D2]; \
	EACH4(DMUL, 12, 8, 8); \
	EACH3(DADD, 25, 8, 8)

// func exps64NEON(dst []float64, x []float32, bias float64)
TEXT ·exps64NEON(SB), NOSPLIT, $0-56
	MOVD    dst_base+0(FP), R0
	MOVD    x_base+24(FP), R1
	MOVD    x_len+32(FP), R2
	MOVD    bias+48(FP), R3
	VDUP    R3, V16.D2
	MOVD    $exp64<>(SB), R4
	VLD1R.P 8(R4), [V17.D2]
	VLD1R.P 8(R4), [V18.D2]
	VLD1R.P 8(R4), [V19.D2]
	VLD1R.P 8(R4), [V20.D2]
	VLD1R.P 8(R4), [V21.D2]
	VLD1R.P 8(R4), [V22.D2]
	VLD1R.P 8(R4), [V23.D2]
	VLD1R.P 8(R4), [V24.D2]
	LSR     $3, R2
	CBZ     R2, done

block:
	VLD1.P 32(R1), [V4.S4, V5.S4]
	STOD(4, 0)
	STOD2(4, 1)
	STOD(5, 2)
	STOD2(5, 3)
	EACH3(DSUB, 16, 0, 0)
	EACH3(DMIN, 17, 0, 0)
	EACH3(DMAX, 18, 0, 0)
	EACH3(DMUL, 19, 0, 4)
	EACH3(DADD, 20, 4, 4)
	EACH2(DFLOOR, 4, 4)   // n
	EACH3(DMUL, 21, 4, 8)
	EACH4(DSUB, 8, 0, 0)  // a
	EACH3(DMUL, 22, 4, 8) // -b
	EACH4(DSUB, 8, 0, 12) // r
	EACH4(DSUB, 12, 0, 0)
	EACH4(DSUB, 8, 0, 0)  // e
	EACH2(DTOINT, 4, 4)   // k
	MOVD    R4, R5
	VLD1R.P 8(R5), [V25.D2]
	MOVV(25, 8)
	MOVV(25, 9)
	MOVV(25, 10)
	MOVV(25, 11)
	TERM
	TERM
	TERM
	TERM
	TERM
	TERM
	TERM
	TERM
	TERM
	TERM
	TERM
	EACH4(DMUL, 12, 8, 8)  // p
	EACH4(DMUL, 12, 8, 8)
	EACH4(DMUL, 12, 0, 26)
	EACH4(DADD, 26, 0, 0)
	EACH4(DADD, 0, 8, 8)
	EACH4(DADD, 8, 12, 12)
	EACH3(DADD, 23, 12, 12) // y
	EACH2(SSHR1D, 4, 8)
	EACH4(ISUBD, 8, 4, 4)
	EACH3(IADDD, 24, 8, 8)
	EACH3(IADDD, 24, 4, 4)
	EACH2(SHL52, 8, 8)
	EACH2(SHL52, 4, 4)
	EACH4(DMUL, 8, 12, 12)
	EACH4(DMUL, 4, 12, 12)
	VST1.P [V12.D2, V13.D2, V14.D2, V15.D2], 64(R0)
	SUB    $1, R2
	CBNZ   R2, block

done:
	RET
