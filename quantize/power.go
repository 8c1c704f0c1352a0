package quantize

import (
	"strings"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
)

// inputPower estimates, for each input column of a tensor, the mean square of
// what it is multiplied by, from the weights of the model alone: as if what
// RMSNorm normalizes were white, and the paths through attention and gate were
// independent. An error in a weight costs in proportion to it.
//
//   - after a norm: the square of the norm's gain;
//   - o: the power of the value row that feeds the column;
//   - down: the power of the gate row times that of the up row.
//
// A constant factor does not matter. For a lookup all columns count alike.
func inputPower(m *model.Model, s model.Slot) ([]float32, error) {
	power := make([]float32, s.Cols)
	err := parallel.Guard(func() error {
		switch kind := kindOf(s); {
		case s.Role == model.Output, s.Role == model.Embedding && m.Spec.Tied:
			squares(power, gains(m, model.Norm))
		case kind == model.O:
			value := rowPower(m, blockOf(s, model.V), gains(m, blockOf(s, model.AttnNorm)))
			for head := range m.Spec.Heads {
				kv := head / (m.Spec.Heads / m.Spec.KVHeads)
				copy(power[head*m.Spec.HeadDim:], value[kv*m.Spec.HeadDim:][:m.Spec.HeadDim])
			}
		case kind == model.Down:
			norm := gains(m, blockOf(s, model.FFNNorm))
			gate, up := rowPower(m, blockOf(s, model.Gate), norm), rowPower(m, blockOf(s, model.Up), norm)
			for i := range power {
				power[i] = gate[i] * up[i]
			}
		case kind == model.Gate || kind == model.Up:
			squares(power, gains(m, blockOf(s, model.FFNNorm)))
		case s.Role == model.Linear:
			squares(power, gains(m, blockOf(s, model.AttnNorm)))
		}
		return nil
	})
	floor(power)
	return power, err
}

// blockOf names the tensor of another kind in the block of s.
func blockOf(s model.Slot, kind string) string {
	return strings.TrimSuffix(s.Name, kindOf(s)) + kind
}

// gains returns a norm's gains.
func gains(m *model.Model, name string) []float32 {
	t := m.Tensors[name]
	g := make([]float32, t.Cols)
	new(qtensor.Reader).Row(g, t, 0)
	return g
}

// rowPower is the mean square of each output of a linear layer whose white
// inputs carry the gains g.
func rowPower(m *model.Model, name string, g []float32) []float32 {
	t := m.Tensors[name]
	power, row := make([]float32, t.Rows), make([]float32, t.Cols)
	var reader qtensor.Reader
	for r := range power {
		reader.Row(row, t, r)
		sum := 0.0
		for i, w := range row {
			v := float64(w) * float64(g[i])
			sum += float64(v * v)
		}
		power[r] = float32(sum)
	}
	return power
}

func squares(dst, x []float32) {
	for i, v := range x {
		dst[i] = v * v
	}
}

// floor scales power to a mean of 1 and raises what is below a thousandth of
// that, so that no column is free to be wrong; a power that says nothing (all
// zero, or not finite) becomes 1 everywhere.
func floor(power []float32) {
	sum := 0.0
	for _, p := range power {
		sum += float64(p)
	}
	mean := sum / float64(len(power))
	for i, p := range power {
		if !(mean > 0 && mean < 1e30) {
			power[i] = 1
			continue
		}
		power[i] = max(float32(float64(p)/mean), 1e-3)
	}
}
