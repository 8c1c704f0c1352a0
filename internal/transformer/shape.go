package transformer

import "thimble/internal/model"

// A shape has the rows of a block whose sizes are not those of others.
type shape struct{ q, k, v, attnGate, gate, up rows }

// shapesOf returns the shape of each block for n positions, or nil if all are the same. Blocks
// of the same sizes share rows, except that the keys and values that other blocks attend to
// have their own.
func shapesOf(s *model.Spec, n int) []*shape {
	if !s.Varies() {
		return nil
	}
	type size struct{ headDim, kvHeads, ffn int }
	like, all := map[size]*shape{}, make([]*shape, s.Blocks)
	for b := range all {
		t := s.Of(b)
		key := size{t.HeadDim, t.KVHeads, t.FFN}
		if like[key] == nil {
			kv := t.KVHeads * t.HeadDim
			like[key] = &shape{q: newRows(n, s.Heads*t.HeadDim), k: newRows(n, kv), v: newRows(n, kv), gate: newRows(n, t.FFN), up: newRows(n, t.FFN)}
			if s.AttnGate {
				like[key].attnGate = newRows(n, s.Heads*t.HeadDim)
			}
		}
		one := *like[key]
		all[b] = &one
	}
	own := map[int]bool{}
	for b, x := range all {
		from := s.KeysOf(b)
		if from == b {
			continue
		}
		if source := all[from]; !own[from] {
			own[from] = true
			source.k, source.v = newRows(n, source.k.width), newRows(n, source.v.width)
		}
		x.k, x.v = all[from].k, all[from].v
	}
	return all
}

// reshape makes p hold the activations of a block of a step.
func (p *pass) reshape(step int) {
	if p.shapes != nil {
		x := p.shapes[p.d.spec.Schedule[step]]
		p.q, p.k, p.v, p.attnGate, p.gate, p.up = x.q, x.k, x.v, x.attnGate, x.gate, x.up
	}
}
