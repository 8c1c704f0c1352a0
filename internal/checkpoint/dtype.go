package checkpoint

// A DType is the type of a tensor's elements, by its name in safetensors.
type DType string

const (
	Bool DType = "BOOL"
	U8   DType = "U8"
	I8   DType = "I8"
	U16  DType = "U16"
	I16  DType = "I16"
	U32  DType = "U32"
	I32  DType = "I32"
	U64  DType = "U64"
	I64  DType = "I64"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"

	F8E4M3 DType = "F8_E4M3" // without infinities: float8_e4m3fn in torch
	F8E5M2 DType = "F8_E5M2"
)

// bits is the width of an element. This package reads the types without a constant
// above, but nothing computes with them.
var bits = map[DType]uint64{
	Bool: 8, U8: 8, I8: 8, U16: 16, I16: 16, U32: 32, I32: 32, U64: 64, I64: 64,
	F16: 16, BF16: 16, F32: 32, F64: 64,
	"C64": 64, F8E4M3: 8, F8E5M2: 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
	"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}
