package gradient

import (
	"math"

	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/transformer"
)

// activation goes back through act(gate) * up, or act(up) without a gate.
func (p *pass) activation(step int, _ *transformer.Operation) error {
	dy, f := p.spend(model.Activated), functions[p.s.Activation]
	if p.s.Activation == model.XIELU {
		f = transformer.XIELUOf(p.m, p.s.Schedule[step]).At
	}
	up, dup := p.acts[model.Up], p.gradient(model.Up)
	if p.s.Ungated {
		return parallel.Ranges(p.ctx, dy.n, rowsAtOnce, func(_, from, to int) error {
			for t := from; t < to; t++ {
				d := dup.row(t)
				for i, x := range up.row(t) {
					_, slope := f(x)
					d[i] += float32(dy.row(t)[i] * slope)
				}
			}
			return nil
		})
	}
	gate, dgate := p.acts[model.Gate], p.gradient(model.Gate)
	return parallel.Ranges(p.ctx, dy.n, rowsAtOnce, func(_, from, to int) error {
		for t := from; t < to; t++ {
			g, u, dg, du := gate.row(t), up.row(t), dgate.row(t), dup.row(t)
			for i, d := range dy.row(t) {
				y, slope := f(g[i])
				dg[i] += float32(float32(d*u[i]) * slope)
				du[i] += float32(d * y)
			}
		}
		return nil
	})
}

// functions has the value and the derivative of each activation.
var functions = map[model.Activation]func(x float32) (y, slope float32){
	model.SiLU: func(x float32) (y, slope float32) {
		s := 1 / (1 + kernel.Exp(-x))
		y = x * s
		return y, s + float32(y*(1-s))
	},
	model.GELUTanh: func(x float32) (y, slope float32) {
		const a, b = 1.5957691216057308, 0.07135481627260025 // gelu(x) = x sigmoid(a x + b x³)
		square := float32(x * x)
		s := 1 / (1 + kernel.Exp(-float32(x*(a+float32(b*square)))))
		y = x * s
		return y, s + float32(float32(y*(1-s))*(a+float32(3*b*square)))
	},
	model.GELU: func(x float32) (y, slope float32) {
		in, out, one := [1]float32{x}, [1]float32{}, [1]float32{1}
		kernel.GELUErfMul(out[:], in[:], one[:])
		v, share := float64(x), 0.5
		if x != 0 {
			share = float64(out[0]) / v
		}
		density := kernel.Exp64(-float64(v*v)/2) / math.Sqrt(2*math.Pi)
		return out[0], float32(share + float64(v*density))
	},
	model.ReLU: func(x float32) (y, slope float32) {
		if x > 0 {
			return x, 1
		}
		return 0, 0
	},
	model.ReLU2: func(x float32) (y, slope float32) {
		if x > 0 {
			return float32(x * x), 2 * x
		}
		return 0, 0
	},
}
