package power

import (
	"cmp"
	"slices"

	"thimble/internal/model"
)

// attention computes the stream after the attention of block b, whose input is h.
func (p *powers) attention(b int, h []float64) error {
	sized := p.m.Spec.Of(b)
	s := &sized
	name := func(kind string) string { return model.Name(b, kind) }
	if s.IsLatent() {
		h = p.latents(b, h)
	} else {
		p.feeds(h, name(model.Q))
	}
	if s.AttnGate { // about the same factor for all columns
		p.feeds(h, name(model.AttnGate))
	}
	value, err := p.valuesOf(b, h)
	if err != nil {
		return err
	}
	width := s.ValueDim()
	mixed := make([]float64, s.Heads*width)
	for i := range mixed {
		head, d := i/width, i%width
		mixed[i] = attentionShare * value[head/(s.Heads/s.KVHeads)*width+d]
	}
	return p.adds(name(model.O), name(model.AttnPost), mixed, 1)
}

// latents feeds h to the layers that read the input of latent attention, and returns the input of
// keys and values. What the norms of latents make has the power of their gains.
func (p *powers) latents(b int, h []float64) []float64 {
	name := func(kind string) string { return model.Name(b, kind) }
	gains := func(kind string) []float64 {
		all := []float64{}
		for _, g := range p.vector(name(kind)) {
			all = append(all, float64(g)*float64(g))
		}
		return all
	}
	p.feeds(h, name(model.LatentKV))
	if p.m.Spec.Latent.Query == 0 {
		p.feeds(h, name(model.Q))
	} else {
		p.feeds(h, name(model.LatentQ))
		p.feeds(gains(model.LatentQNorm), name(model.Q))
	}
	return gains(model.LatentKVNorm)
}

// valuesOf returns the power of the values to which block b attends. h is its input.
func (p *powers) valuesOf(b int, h []float64) ([]float64, error) {
	s := p.m.Spec.Of(b)
	if from := s.KeysOf(b); from != b {
		return p.values[from], nil
	}
	kinds := []string{model.K, model.V}
	if s.AttentionOf(b).KeyValues {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		p.feeds(h, model.Name(b, kind))
	}
	value, err := p.outputs(model.Name(b, kinds[len(kinds)-1]), h)
	if err != nil {
		return nil, err
	}
	for at := 0; s.VNorm && at < len(value); at += s.HeadDim {
		normalize(value[at:][:s.HeadDim])
	}
	if p.values == nil {
		p.values = map[int][]float64{}
	}
	p.values[b] = value
	return value, nil
}

// normalize divides powers by their mean.
func normalize(power []float64) {
	sum := 0.0
	for _, v := range power {
		sum += v
	}
	for i := range power {
		if sum > 0 {
			power[i] *= float64(len(power)) / sum
		}
	}
}

// layerInput computes the stream after block b added what it has for the tokens, each of
// which is as likely as any other. Its two parts are normalized, or have about that power.
func (p *powers) layerInput(b int) error {
	name := func(kind string) string { return model.Name(b, kind) }
	p.feeds(p.embedded, name(model.LayerIn))
	read := p.scaled(b)
	p.feeds(read, name(model.LayerGate))
	inner, err := p.outputs(name(model.LayerGate), read)
	if err != nil {
		return err
	}
	for i := range inner {
		inner[i] *= gateShare
	}
	if p.streams == nil {
		return p.adds(name(model.LayerOut), name(model.LayerPost), inner, 1)
	}
	active := slices.Clone(p.stream)
	err = p.adds(name(model.LayerOut), name(model.LayerPost), inner, 1)
	for i, v := range p.stream { // the other streams get it instead
		for _, y := range p.streams {
			y[i] += v - active[i]
		}
	}
	p.stream = active
	return err
}

// convolution computes the stream after the gated convolution of block b, whose input is h.
func (p *powers) convolution(b int, h []float64) error {
	s := &p.m.Spec
	name := func(kind string) string { return model.Name(b, kind) }
	p.feeds(h, name(model.ConvIn))
	parts, err := p.outputs(name(model.ConvIn), h)
	if err != nil {
		return err
	}
	n := s.Hidden
	mixed := make([]float64, n)
	for i, w := range p.vector(name(model.Conv)) {
		mixed[i/s.AttentionOf(b).Conv] += float64(float64(w) * float64(w))
	}
	for i := range mixed {
		mixed[i] *= parts[i] * parts[n+i] * parts[2*n+i]
	}
	return p.adds(name(model.ConvOut), name(model.AttnPost), mixed, 1)
}

// deltaRule computes the stream after the gated delta rule of block b, whose input is h. The
// norm of each head makes its outputs alike, apart from the gains and gates.
func (p *powers) deltaRule(b int, h []float64) error {
	name := func(kind string) string { return model.Name(b, kind) }
	p.feeds(h, name(model.DeltaIn), name(model.DeltaGate), name(model.DeltaA), name(model.DeltaB))
	mixed, err := p.outputs(name(model.DeltaGate), h)
	if err != nil {
		return err
	}
	gains := p.vector(name(model.DeltaNorm))
	for i := range mixed {
		gain := float64(gains[i%len(gains)])
		mixed[i] *= gateShare * gain * gain
	}
	return p.adds(name(model.DeltaOut), name(model.AttnPost), mixed, 1)
}

// stateSpace computes the stream after the state space layer of block b, whose input is h, and adds
// to it what attention beside it has added. Inside a head, the outputs are about as large as the
// layer's own input x after the convolution, of which a part skips the state.
func (p *powers) stateSpace(b int, h []float64) error {
	s := &p.m.Spec
	c, length := &s.Scan, s.AttentionOf(b).Scan
	name := func(kind string) string { return model.Name(b, kind) }
	p.feeds(h, name(model.ScanGate), name(model.ScanIn), name(model.ScanStep))
	gates, err := p.outputs(name(model.ScanGate), h)
	if err != nil {
		return err
	}
	in, err := p.outputs(name(model.ScanIn), h)
	if err != nil {
		return err
	}
	scale := cmp.Or(s.Scales.ScanX, 1)
	factors := make([]float64, c.Values())
	for i, w := range p.vector(name(model.ScanConv))[:c.Values()*length] {
		factors[i/length] += float64(float64(w) * float64(w))
	}
	mixed := make([]float64, c.Values())
	for i := range mixed {
		mixed[i] = scale * scale * factors[i] * in[i] * gateShare
	}
	var gains []float32
	if c.Norm != model.ScanUnnormed {
		gains = p.vector(name(model.ScanNorm))
	}
	width := c.Values() / c.Groups
	for at := 0; at < len(mixed); at += width {
		group := mixed[at:][:width]
		if c.Norm == model.ScanNormed {
			normalize(group)
		}
		for i := range group {
			group[i] *= gateShare * gates[at+i]
		}
		if c.Norm == model.ScanGated {
			normalize(group)
		}
		for i := range group {
			if gains != nil {
				group[i] *= float64(gains[at+i]) * float64(gains[at+i])
			}
		}
	}
	return p.adds(name(model.ScanOut), name(model.AttnPost), mixed, 1)
}

// experts computes the stream after the experts of block b, whose input is h. It is
// as if all experts were equally likely, and their weights equal.
func (p *powers) experts(b int, h []float64) error {
	e := &p.m.Spec.Experts
	share := 1 / float64(e.Count*e.Used)
	layer := func(of func(kind string) string, share float64) error {
		name := func(kind string) string { return model.Name(b, of(kind)) }
		return p.feedForward(h, name(model.Gate), name(model.Up), name(model.Down), model.Name(b, model.FFNPost), share)
	}
	for i := range e.Count {
		if err := layer(func(kind string) string { return model.Expert(i, kind) }, share); err != nil {
			return err
		}
	}
	if e.Shared == 0 {
		return nil
	}
	return layer(model.Shared, 1)
}

// feedForward computes the stream after a feed-forward layer whose input is h, of which
// the stream receives a share.
func (p *powers) feedForward(h []float64, gateName, up, down, post string, share float64) error {
	s := &p.m.Spec
	p.feeds(h, up)
	inner, err := p.outputs(up, h)
	if err != nil {
		return err
	}
	gate := inner
	if !s.Ungated {
		p.feeds(h, gateName)
		if gate, err = p.outputs(gateName, h); err != nil {
			return err
		}
	}
	for i := range inner {
		if s.Ungated {
			inner[i] *= gateShare
		} else {
			inner[i] *= gateShare * gate[i]
		}
	}
	return p.adds(down, post, inner, share)
}
