// Instructions that Go's assembler lacks. Each macro takes register numbers in
// Go's operand order, with the destination last. All work on four 32-bit lanes
// unless the comment says otherwise.

#define FADD(m, n, d) WORD $(0x4e20d400 + (m<<16) + (n<<5) + d)  // fadd vd.4s, vn.4s, vm.4s
#define FSUB(m, n, d) WORD $(0x4ea0d400 + (m<<16) + (n<<5) + d)  // fsub vd.4s, vn.4s, vm.4s: n-m
#define FMUL(m, n, d) WORD $(0x6e20dc00 + (m<<16) + (n<<5) + d)  // fmul vd.4s, vn.4s, vm.4s
#define FDIV(m, n, d) WORD $(0x6e20fc00 + (m<<16) + (n<<5) + d)  // fdiv vd.4s, vn.4s, vm.4s: n/m
#define FMLA(m, n, d) WORD $(0x4e20cc00 + (m<<16) + (n<<5) + d)  // fmla vd.4s, vn.4s, vm.4s
#define FMLS(m, n, d) WORD $(0x4ea0cc00 + (m<<16) + (n<<5) + d)  // fmls vd.4s, vn.4s, vm.4s: d-n*m
#define FMAX(m, n, d) WORD $(0x4e20f400 + (m<<16) + (n<<5) + d)  // fmax vd.4s, vn.4s, vm.4s: NaN if either is
#define FMIN(m, n, d) WORD $(0x4ea0f400 + (m<<16) + (n<<5) + d)  // fmin vd.4s, vn.4s, vm.4s: NaN if either is
#define FADDP(m, n, d) WORD $(0x6e20d400 + (m<<16) + (n<<5) + d) // faddp vd.4s, vn.4s, vm.4s: n0+n1, n2+n3, m0+m1, m2+m3
#define FMAXV(n, d) WORD $(0x6e30f800 + (n<<5) + d)              // fmaxv sd, vn.4s
#define FMINV(n, d) WORD $(0x6eb0f800 + (n<<5) + d)              // fminv sd, vn.4s
#define FCVTN(n, d) WORD $(0x0e216800 + (n<<5) + d)              // fcvtn vd.4h, vn.4s: to nearest, ties to even
#define UCVTF(n, d) WORD $(0x6e21d800 + (n<<5) + d)              // ucvtf vd.4s, vn.4s
#define FCVTL(n, d) WORD $(0x0e217800 + (n<<5) + d)              // fcvtl vd.4s, vn.4h
#define FCVTL2(n, d) WORD $(0x4e217800 + (n<<5) + d)             // fcvtl2 vd.4s, vn.8h
#define MOVV(n, d) WORD $(0x4ea01c00 + (n<<16) + (n<<5) + d)     // mov vd.16b, vn.16b
#define IADD(m, n, d) WORD $(0x4ea08400 + (m<<16) + (n<<5) + d)  // add vd.4s, vn.4s, vm.4s
#define ISUB(m, n, d) WORD $(0x6ea08400 + (m<<16) + (n<<5) + d)  // sub vd.4s, vn.4s, vm.4s: n-m
#define ADDP(m, n, d) WORD $(0x4ea0bc00 + (m<<16) + (n<<5) + d)  // addp vd.4s, vn.4s, vm.4s: n0+n1, n2+n3, m0+m1, m2+m3
#define MOVI0(d) WORD $(0x4f000400 + d)                          // movi vd.4s, #0
#define SSHR1(n, d) WORD $(0x4f3f0400 + (n<<5) + d)              // sshr vd.4s, vn.4s, #1
#define SHL23(n, d) WORD $(0x4f375400 + (n<<5) + d)              // shl vd.4s, vn.4s, #23
#define USHL(m, n, d) WORD $(0x6e204400 + (m<<16) + (n<<5) + d)  // ushl vd.16b, vn.16b, vm.16b: n<<m
#define SCVTF(n, d) WORD $(0x4e21d800 + (n<<5) + d)              // scvtf vd.4s, vn.4s
#define FCVTNS(n, d) WORD $(0x4e21a800 + (n<<5) + d)             // fcvtns vd.4s, vn.4s: to nearest, ties to even
#define SHLL(n, d) WORD $(0x2e613800 + (n<<5) + d)               // shll vd.4s, vn.4h, #16
#define SHLL2(n, d) WORD $(0x6e613800 + (n<<5) + d)              // shll2 vd.4s, vn.8h, #16
#define IMLA(m, n, d) WORD $(0x4ea09400 + (m<<16) + (n<<5) + d)  // mla vd.4s, vn.4s, vm.4s

// Products of signed bytes, widened to eight 16-bit lanes.
#define SMULL(m, n, d) WORD $(0x0e20c000 + (m<<16) + (n<<5) + d)  // smull vd.8h, vn.8b, vm.8b
#define SMULL2(m, n, d) WORD $(0x4e20c000 + (m<<16) + (n<<5) + d) // smull2 vd.8h, vn.16b, vm.16b
#define SMLAL(m, n, d) WORD $(0x0e208000 + (m<<16) + (n<<5) + d)  // smlal vd.8h, vn.8b, vm.8b
#define SMLAL2(m, n, d) WORD $(0x4e208000 + (m<<16) + (n<<5) + d) // smlal2 vd.8h, vn.16b, vm.16b
#define SADDLP(n, d) WORD $(0x4e602800 + (n<<5) + d)              // saddlp vd.4s, vn.8h: sums of pairs of lanes
#define SADALP(n, d) WORD $(0x4e606800 + (n<<5) + d)              // sadalp vd.4s, vn.8h: adds pairs of lanes

// SDOT adds the products of four signed bytes to each 32-bit lane. It needs FEAT_DotProd.
#define SDOT(m, n, d) WORD $(0x4e809400 + (m<<16) + (n<<5) + d) // sdot vd.4s, vn.16b, vm.16b

// SDOTE is SDOT with four bytes of vm, its 32-bit lane i, in all lanes.
#define SDOTE(m, i, n, d) WORD $(0x4f80e000 + ((i&1)<<21) + ((i>>1)<<11) + (m<<16) + (n<<5) + d) // sdot vd.4s, vn.16b, vm.4b[i]
#define DUPE(n, i, d) WORD $(0x4e040400 + (i<<19) + (n<<5) + d)                                 // dup vd.4s, vn.s[i]

// SMMLA adds the products of two rows of eight signed bytes and two others. It needs
// FEAT_I8MM.
#define SMMLA(m, n, d) WORD $(0x4e80a400 + (m<<16) + (n<<5) + d) // smmla vd.4s, vn.16b, vm.16b: n0·m0, n0·m1, n1·m0, n1·m1

// On two 64-bit lanes.
#define DADD(m, n, d) WORD $(0x4e60d400 + (m<<16) + (n<<5) + d) // fadd vd.2d, vn.2d, vm.2d
#define DSUB(m, n, d) WORD $(0x4ee0d400 + (m<<16) + (n<<5) + d) // fsub vd.2d, vn.2d, vm.2d: n-m
#define DMUL(m, n, d) WORD $(0x6e60dc00 + (m<<16) + (n<<5) + d) // fmul vd.2d, vn.2d, vm.2d
#define DMAX(m, n, d) WORD $(0x4e60f400 + (m<<16) + (n<<5) + d) // fmax vd.2d, vn.2d, vm.2d: NaN if either is
#define DMIN(m, n, d) WORD $(0x4ee0f400 + (m<<16) + (n<<5) + d) // fmin vd.2d, vn.2d, vm.2d: NaN if either is
#define DFLOOR(n, d) WORD $(0x4e619800 + (n<<5) + d)            // frintm vd.2d, vn.2d
#define DTOINT(n, d) WORD $(0x4ee1b800 + (n<<5) + d)            // fcvtzs vd.2d, vn.2d
#define STOD(n, d) WORD $(0x0e617800 + (n<<5) + d)              // fcvtl vd.2d, vn.2s
#define STOD2(n, d) WORD $(0x4e617800 + (n<<5) + d)             // fcvtl2 vd.2d, vn.4s
#define IADDD(m, n, d) WORD $(0x4ee08400 + (m<<16) + (n<<5) + d) // add vd.2d, vn.2d, vm.2d
#define ISUBD(m, n, d) WORD $(0x6ee08400 + (m<<16) + (n<<5) + d) // sub vd.2d, vn.2d, vm.2d: n-m
#define SSHR1D(n, d) WORD $(0x4f7f0400 + (n<<5) + d)            // sshr vd.2d, vn.2d, #1
#define SHL52(n, d) WORD $(0x4f745400 + (n<<5) + d)             // shl vd.2d, vn.2d, #52
