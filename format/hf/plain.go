package hf

import (
	"slices"

	"thimble/format/export"
	"thimble/internal/qtensor"
)

// plain stores values: what transformers calls a checkpoint.
var plain = form{
	format: export.Format{
		Name: "safetensors", Program: "transformers", Files: files, Sharded: true,
		Fast: "stored as it is", Slow: "stored as its values, so that the folder is larger than the model",
		DTypes: []string{"f32", "f16", "bf16"},
	},
	dtype: commonType,
	pt:    "pt",
}

// commonType returns the float type in which every tensor is stored, or float32, which holds
// the values of all.
func commonType(schemes []qtensor.Scheme) qtensor.Kind {
	first := schemes[0]
	if first.Float() && !slices.ContainsFunc(schemes, func(s qtensor.Scheme) bool { return s != first }) {
		return first.Kind
	}
	return qtensor.F32
}
