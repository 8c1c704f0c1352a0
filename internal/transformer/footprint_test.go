package transformer

import (
	"path/filepath"
	"slices"
	"testing"

	"thimble/convert"
)

// Footprint has all the rows of a pass, and at least what is kept before each group.
func TestFootprint(t *testing.T) {
	for _, dir := range []string{"llama-tied", "phi", "gemma3", "qwen3", "families/gemma3n", "families/lfm2", "families/qwen3_5-even", "families/granitemoehybrid", "families/falcon_h1", "families/youtu"} {
		m, err := convert.Open(filepath.Join("../../fixtures", dir), convert.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		d, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		p := d.newPass([]sequence{{&Cache{}, 1}})
		p.reshape(len(m.Spec.Schedule) - 1) // the widest block
		running, keeping := m.Spec.Footprint()
		all := []rows{p.x, p.h, p.y, p.q, p.k, p.v, p.gate, p.up, p.laurel}
		for _, x := range p.latent.all() {
			all = append(all, *x)
		}
		if p.layer != nil {
			all = append(all, p.layer.embedded, p.layer.inner, p.layer.gated)
		}
		if a := p.altUp; a != nil {
			all = append(slices.Concat(all, a.streams, a.outs), a.predicted, a.route, a.predicts, a.corrects)
		}
		all = append(all, p.conv, p.convolved, p.attnGate)
		if d := p.delta; d != nil {
			all = append(all, d.in, d.gate, d.a, d.b, d.mixed)
		}
		if c := p.scan; c != nil {
			all = append(all, c.in, c.gate, c.step, c.mixed)
			if &c.out.data[0] != &p.y.data[0] {
				all = append(all, c.out)
			}
		}
		for _, x := range all {
			running -= 4 * int64(x.stride)
		}
		if running != 0 {
			t.Errorf("%s: a position takes %d bytes less than the estimate", dir, running)
		}
		for op := range d.operations[0] {
			kept := 4 * int64(p.x.stride)
			new(parts).each(p, 0, op, func(_ string, stride int) { kept += 4 * int64(stride) })
			if d.operations[0][op].Layers != nil && inParts(&m.Spec) && kept > keeping {
				t.Errorf("%s: %d bytes are kept before %s, the estimate is %d", dir, kept, d.operations[0][op].Name, keeping)
			}
		}
	}
}
