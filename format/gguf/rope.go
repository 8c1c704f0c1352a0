package gguf

import (
	"cmp"
	"math"

	"thimble/format/gguf/names"
	"thimble/internal/kernel"
	"thimble/internal/model"
)

// mapRope maps the rotary embedding of all blocks that do not name another.
func (a *architecture) mapRope(w *mapper, s *model.Spec) {
	m, r := w.m, &s.Rope
	w.float(&m.ropeBase, &r.Base, 10000)
	dims := r.Dims
	if dims == 0 || !w.reading && !a.partial {
		dims = s.HeadDim
	}
	if w.count(&m.ropeDims, &dims, s.HeadDim); w.reading && dims != s.HeadDim {
		r.Dims = dims
	}
	if w.reading {
		a.readScaling(w, r)
	}
	switch {
	case r.Scaling == model.RopeYarn:
		a.mapYarn(w, s)
		return
	case r.Scaling == model.RopeLinear:
		m.ropeScaling = "linear"
		w.float(&m.ropeFactor, &r.Factor, 0)
	case r.Scaling == model.RopeLlama3 && a.factors:
		w.float(&m.llama3Factor, &r.Factor, 0)
		w.float(&m.llama3Low, &r.LowFreq, 0)
		w.float(&m.llama3High, &r.HighFreq, 0)
		w.count(&m.llama3Original, &r.Original, 0)
	case r.Scaling == model.RopeFactors && a.factors:
		m.freqs = r.Factors
	}
	w.option(&m.ropeAttn, &r.Scale, 1)
}

// readScaling sets the kind of scaling of r that the keys name.
func (a *architecture) readScaling(w *mapper, r *model.Rope) {
	m := w.m
	switch {
	case m.llama3Factor != nil && a.factors:
		r.Scaling = model.RopeLlama3
	case m.freqs != nil && a.factors:
		r.Scaling, r.Factors = model.RopeFactors, m.freqs
	case m.ropeScaling == "yarn":
		r.Scaling = model.RopeYarn
	case m.ropeScaling != "" && m.ropeScaling != "linear" && m.ropeScaling != "none":
		w.fail(&m.ropeScaling, "%q", m.ropeScaling)
	case m.ropeFactor != nil && *m.ropeFactor != 0 && *m.ropeFactor != 1 && m.ropeScaling != "none":
		r.Scaling = model.RopeLinear
	}
}

// mapYarn maps YaRN, whose scale llama.cpp computes from the factor and multiplies by
// rope.scaling.attn_factor (llama-context.cpp).
func (a *architecture) mapYarn(w *mapper, s *model.Spec) {
	m, r := w.m, &s.Rope
	m.ropeScaling = "yarn"
	w.float(&m.ropeFactor, &r.Factor, 0)
	w.count(&m.ropeOriginal, &r.Original, s.Context)
	low, high := cmp.Or(r.LowFreq, 1), cmp.Or(r.HighFreq, 32)
	if a.betas {
		w.float(&m.betaSlow, &low, 1)
		w.float(&m.betaFast, &high, 32)
	}
	if !w.reading {
		if attn := yarnAttn(r); attn != 1 {
			m.ropeAttn = &attn
		}
		return
	}
	r.LowFreq, r.HighFreq = low, high
	attn := float32(1)
	if m.ropeAttn != nil {
		attn = *m.ropeAttn
	}
	r.Scale = model.YarnScale(r.Factor, 1)
	if a.yarnLog && m.yarnLog != nil && *m.yarnLog != 0 { // llama.cpp does not read it in others
		r.Scale /= model.YarnScale(r.Factor, shortest(*m.yarnLog))
	}
	if attn != 1 {
		r.Scale *= float64(attn)
	}
	if r.Scale == 1 {
		r.Scale = 0
	}
}

// yarnAttn returns the rope.scaling.attn_factor with which llama.cpp computes r's scale.
func yarnAttn(r *model.Rope) float32 {
	return float32(cmp.Or(r.Scale, 1) / model.YarnScale(r.Factor, 1))
}

// inGGUF returns r as a file represents it: a YaRN that the graph does not compute becomes
// factors of the dims dimensions that rotate, and the scale of one that it computes is rounded as
// the file's is.
func (a *architecture) inGGUF(r model.Rope, dims int) model.Rope {
	if r.Scaling != model.RopeYarn {
		return r
	}
	if !r.Fractional && (a.betas || r.LowFreq == 1 && r.HighFreq == 32) {
		if attn := yarnAttn(&r); attn != 1 {
			r.Scale = model.YarnScale(r.Factor, 1) * float64(attn)
		}
		return r
	}
	if !a.factors {
		return r
	}
	out := model.Rope{Base: r.Base, Scaling: model.RopeFactors, Dims: r.Dims, Pairs: r.Pairs, Scale: r.Scale}
	plain := model.Rope{Base: r.Base}
	for i := range dims / 2 {
		out.Factors = append(out.Factors, plain.Frequency(i, dims)/r.Frequency(i, dims))
	}
	return out
}

// factorNames returns the names of the tensors with the divisors of the rotary frequencies.
func (a *architecture) factorNames() []string {
	if a.twoFactors {
		return names.LongAndShort
	}
	return []string{names.RopeFreqs}
}

// hasFactors reports whether a file for s has those tensors.
func (a *architecture) hasFactors(s *model.Spec) bool {
	return a.needsFactors || s.Rope.Scaling == model.RopeLlama3 || s.Rope.Scaling == model.RopeFactors
}

// ropeDims returns the number of dimensions that Spec.Rope rotates of each head.
func ropeDims(s *model.Spec) int {
	for b := range s.Blocks {
		if s.AttentionOf(b).Rope == 0 {
			return cmp.Or(s.Rope.Dims, s.Of(b).HeadDim)
		}
	}
	return cmp.Or(s.Rope.Dims, s.HeadDim)
}

// ropeFactors returns the divisors of the rotary frequencies, (Dims/2), with which
// llama.cpp computes the scaling of s. For Llama 3.1's rule they are 1 for short wavelengths,
// Factor for long ones, and a harmonic blend between them (transformers,
// _compute_llama3_parameters).
func ropeFactors(s *model.Spec) []float32 {
	r := &s.Rope
	dims := ropeDims(s)
	factors := make([]float32, dims/2)
	for i := range factors {
		switch r.Scaling {
		case model.RopeFactors:
			factors[i] = float32(r.Factors[i])
			continue
		case model.RopeLlama3:
		default:
			factors[i] = 1
			continue
		}
		f := float64(float32(1 / kernel.Pow64(r.Base, float64(2*i)/float64(dims))))
		turns := float64(r.Original) * f / (2 * math.Pi)
		switch {
		case turns < r.LowFreq:
			factors[i] = float32(r.Factor)
		case turns > r.HighFreq:
			factors[i] = 1
		default:
			keep := (turns - r.LowFreq) / (r.HighFreq - r.LowFreq)
			factors[i] = float32(1 / (float64((1-keep)/r.Factor) + keep))
		}
	}
	return factors
}
