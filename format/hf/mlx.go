package hf

import (
	"fmt"
	"io"

	"thimble/format/export"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/internal/safetensors"
)

// mlx stores integers as Apple's MLX does in mode affine: rows of codes as streams in 32-bit
// words, and for each group of columns a scale and a bias, w = scale*code + bias. A symmetric
// scheme has the bias -2^(bits-1)*scale, which is exact.
// https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html
var mlx = form{
	format: export.Format{
		Name: "mlx", Program: "mlx", Files: files, Sharded: true,
		Fast: "MLX has kernels for this width and group", Slow: "MLX has no kernels for this type",
	},
	nearest:  nearestMLX,
	entries:  mlxEntries,
	write:    writeMLX,
	describe: describeMLX,
	pt:       "mlx",
}

// nearestMLX returns the nearest scheme with at least as many bits, in the largest group that
// is not larger and that divides the columns; float16 if 32 does not divide them.
func nearestMLX(s qtensor.Scheme, cols int, _ model.Role) qtensor.Scheme {
	if s.Uneven, s.Short = false, false; s.Bits == 7 {
		s.Bits = 8
	}
	if s.Group = groupNear(s.Columns(cols), cols); s.Group == 0 {
		return qtensor.Scheme{Kind: qtensor.F16}
	}
	return s
}

func mlxEntries(module string, t *export.Tensor) []safetensors.Tensor {
	width, groups := words(t.Cols, t.To.Bits), t.To.Groups(t.Cols)
	factors := int64(2) * int64(t.Rows) * int64(groups)
	return []safetensors.Tensor{
		{Name: module + ".weight", DType: "U32", Shape: []int{t.Rows, width}, Bytes: 4 * int64(t.Rows) * int64(width)},
		{Name: module + ".scales", DType: "F16", Shape: []int{t.Rows, groups}, Bytes: factors},
		{Name: module + ".biases", DType: "F16", Shape: []int{t.Rows, groups}, Bytes: factors},
	}
}

func writeMLX(w io.Writer, x *qtensor.Matrix) error {
	s, _ := x.Scheme.Native()
	zero := float32(s.Zero())
	var biases []byte
	scales, err := writeCodes(w, x, func(scale, min uint16) error {
		if !s.Asym {
			exact := -zero * qtensor.FromFloat16(scale)
			half, ok := qtensor.ToFloat16(exact)
			if !ok || qtensor.FromFloat16(half) != exact {
				return fmt.Errorf("the scale %g times %g is not a float16 number, which MLX's bias must be", qtensor.FromFloat16(scale), zero)
			}
			min = half
		}
		biases = le.AppendUint16(biases, min)
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := w.Write(scales); err != nil {
		return err
	}
	_, err = w.Write(biases)
	return err
}

// describeMLX sets quantization, and the same as quantization_config, as mlx-lm does: the
// width and group that most weights have, and those of each module that differs. A module
// without scales is one of floats.
func describeMLX(keys map[string]any, placed []tensor) []string {
	integers := quantized(placed)
	if len(integers) == 0 {
		return nil
	}
	most := commonest(integers)
	settings := func(s qtensor.Scheme) map[string]any { return map[string]any{"bits": s.Bits, "group_size": s.Group} }
	q := settings(most)
	for _, t := range integers {
		if t.To.Bits != most.Bits || t.To.Group != most.Group {
			q[t.module] = settings(t.To)
		}
	}
	keys["quantization"], keys["quantization_config"] = q, q
	return nil
}
