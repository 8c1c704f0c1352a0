package transformer

import (
	"context"
	"fmt"

	"thimble/internal/kernel"
)

// Join returns the states of consecutive parts of a text, at least one, as those of the
// whole text.
func Join(parts []*Hidden) *Hidden {
	first := parts[0]
	x := rows{width: first.x.width, stride: first.x.stride}
	for _, p := range parts {
		x.n += p.x.n
		x.data = append(x.data, p.x.data[:p.x.n*x.stride]...)
	}
	return &Hidden{first.d, x}
}

// Hidden holds the final hidden states of some positions.
type Hidden struct {
	d *Decoder
	x rows // (positions, Hidden)
}

// Len returns the number of positions.
func (h *Hidden) Len() int { return h.x.n }

// Logits computes the logits of the token that follows each of the positions
// [from, from+n) and writes them to dst, (n, Vocab).
func (h *Hidden) Logits(ctx context.Context, dst []float32, from, n int) error {
	if from < 0 || n < 0 || from+n > h.x.n {
		return fmt.Errorf("positions [%d, %d) are outside a prompt of %d", from, from+n, h.x.n)
	}
	v := h.d.spec.Vocab
	y := rows{n: n, width: v, stride: v, data: dst[:n*v]}
	x := rows{n: n, width: h.x.width, stride: h.x.stride, data: h.x.data[from*h.x.stride:]}
	return h.d.logits(ctx, x, y)
}

// logits computes y = cap(scale * (Head x)).
func (d *Decoder) logits(ctx context.Context, x, y rows) error {
	if err := d.apply(ctx, x, product{y, d.head}); err != nil {
		return err
	}
	s := d.spec
	if s.LogitScale != 0 {
		scale := float32(s.LogitScale)
		for t := range y.n {
			multiply(y.row(t), scale)
		}
	}
	if s.LogitCap != 0 {
		for t := range y.n {
			kernel.Softcap(y.row(t), float32(s.LogitCap))
		}
	}
	return nil
}
