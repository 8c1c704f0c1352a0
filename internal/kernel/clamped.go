package kernel

// Clamped is the gated activation of gpt-oss, of a gate g and u beside it:
//
//	g' sigmoid(Alpha g') (u' + 1),  g' = min(g, Limit),  u' = min(max(u, -Limit), Limit)
type Clamped struct{ Alpha, Limit float32 }

// Mul sets dst to the activation of gate and up. dst may be gate or up. Mul panics unless all
// slices have the same length.
func (a Clamped) Mul(dst, gate, up []float32) {
	check(len(dst) == len(gate) && len(up) == len(gate), "Clamped.Mul")
	for i, g := range gate {
		g = min(g, a.Limit)
		u := min(max(up[i], -a.Limit), a.Limit)
		dst[i] = g / (1 + Exp(-float32(a.Alpha*g))) * (u + 1)
	}
}
