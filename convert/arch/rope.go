package arch

import (
	"fmt"
	"maps"
	"math"
	"reflect"

	"thimble/convert/config"
	"thimble/internal/kernel"
	"thimble/internal/model"
)

// A ropeForm is a rope_type of transformers (modeling_rope_utils.py).
type ropeForm struct {
	reads string // the rope_type whose keys transformers reads
	// read reads a rotary embedding of the given base from p, an object of c, for s. It may
	// shorten the context of s to the texts that the rotary embedding is for.
	read func(c, p *config.Config, s *model.Spec, base float64) model.Rope
}

var ropeForms = map[string]ropeForm{
	"default":      {"default", func(_, _ *config.Config, _ *model.Spec, base float64) model.Rope { return model.Rope{Base: base} }},
	"linear":       {"linear", linearRope},
	"llama3":       {"llama3", llama3Rope},
	"yarn":         {"yarn", yarnRope},
	"longrope":     {"longrope", longRope},
	"dynamic":      {"dynamic", dynamicRope},
	"proportional": {"proportional", proportionalRope},
}

// wholeRotary is rotary for models that rotate whole heads.
func wholeRotary(c *config.Config, s *model.Spec) (inner *config.Config) {
	inner = rotary(c, s, 10000, nil)
	c.Must("partial_rotary_factor", 1.0)
	if inner != nil {
		inner.Must("partial_rotary_factor", 1.0)
	}
	return inner
}

// partialRotary is rotary for models that rotate a part of each head. def is the part
// without a key.
func partialRotary(c *config.Config, s *model.Spec, def float64, own map[string]ropeForm) (inner *config.Config) {
	inner = rotary(c, s, 10000, own)
	assumedFloat(c, inner, "partial_rotary_factor", def)
	fraction := c.Float("partial_rotary_factor", def)
	if inner != nil {
		fraction = inner.Float("partial_rotary_factor", fraction)
	}
	if s.Rope.Dims = int(fraction * float64(s.HeadDim)); !(fraction > 0 && fraction <= 1) || s.Rope.Dims < 2 {
		c.Fail("partial_rotary_factor", "%g of %d dimensions, want at least two and at most all of them", fraction, s.HeadDim)
	}
	if s.Rope.Dims == s.HeadDim {
		s.Rope.Dims = 0
	}
	return inner
}

// rotary sets the rotary embedding of s from rope_parameters, which transformers 5 writes,
// or rope_theta and rope_scaling, which transformers 4 wrote. base is the default of
// rope_theta. own has the forms that differ from the usual ones. rotary returns the object
// that it read, or nil.
func rotary(c *config.Config, s *model.Spec, base float64, own map[string]ropeForm) *config.Config {
	base = c.Float("rope_theta", base)
	c.Inert("original_max_position_embeddings") // ropeOriginal reads it where it counts
	p := c.Object("rope_parameters")
	if p == nil {
		p = c.Object("rope_scaling")
	} else if old := c.Value("rope_scaling"); !config.Empty(old) && !sameRope(c, old) {
		c.Fail("rope_scaling", "given together with rope_parameters; keep one, --set rope_scaling=null drops this one")
	}
	assumedFloat(c, p, "rope_theta", base)
	if p == nil {
		s.Rope = model.Rope{Base: base}
		return nil
	}
	if inner := p.Float("rope_theta", base); c.Has("rope_theta") && inner != base {
		c.Fail("rope_theta", "%g, but %s has %g; keep one", base, p.Path(), inner)
	} else {
		base = inner
	}
	s.Rope = scaledRope(c, p, s, base, own)
	return p
}

// sameRope reports whether old, the value of rope_scaling, says what rope_parameters says. The base
// may be outside rope_scaling.
func sameRope(c *config.Config, old any) bool {
	scaling, ok := old.(map[string]any)
	parameters, ok2 := c.Values["rope_parameters"].(map[string]any)
	if !ok || !ok2 {
		return false
	}
	plain := func(m map[string]any) map[string]any {
		m = maps.Clone(m)
		if m["rope_theta"] == nil {
			m["rope_theta"] = c.Values["rope_theta"]
		}
		if m["rope_type"] == nil {
			m["rope_type"] = m["type"]
		}
		delete(m, "type")
		return m
	}
	return reflect.DeepEqual(plain(scaling), plain(parameters))
}

// assumedFloat tells the user that def counts if neither c nor inner, an object of it or nil,
// has key.
func assumedFloat(c, inner *config.Config, key string, def float64) {
	if !c.Has(key) && (inner == nil || !inner.Has(key)) {
		c.Assumed(key, def)
	}
}

// scaledRope reads a rope_type and its parameters from p, an object of c.
func scaledRope(c, p *config.Config, s *model.Spec, base float64, own map[string]ropeForm) model.Rope {
	kind := p.String("rope_type", p.String("type", "default"))
	if old := p.String("type", kind); old != kind {
		c.Note(fmt.Sprintf("%s has type %s and rope_type %s: the second counts, as in transformers", p.Path(), config.Show(old), config.Show(kind)))
	}
	form, ok := own[kind]
	if !ok {
		form, ok = ropeForms[kind]
	}
	if !ok {
		p.UnsupportedObject("rope_type", "%s (want default, dynamic, linear, llama3, longrope, proportional or yarn)", config.Show(kind))
		return model.Rope{Base: base}
	}
	p.ReadsRope(c, form.reads)
	return form.read(c, p, s, base)
}

func linearRope(_, p *config.Config, _ *model.Spec, base float64) model.Rope {
	return model.Rope{Base: base, Scaling: model.RopeLinear, Factor: p.Float("factor")}
}

func llama3Rope(c, p *config.Config, _ *model.Spec, base float64) model.Rope {
	return model.Rope{
		Base: base, Scaling: model.RopeLlama3, Factor: p.Float("factor"),
		LowFreq: p.Float("low_freq_factor"), HighFreq: p.Float("high_freq_factor"),
		Original: ropeOriginal(c, p),
	}
}

// yarnRope reads YaRN (arXiv 2309.00071). attention_factor is the root of the paper's
// temperature; without it, transformers takes 0.1 ln(factor) + 1, or the quotient of two
// such terms.
func yarnRope(c, p *config.Config, s *model.Spec, base float64) model.Rope {
	r := model.Rope{Base: base, Scaling: model.RopeYarn, LowFreq: 1, HighFreq: 32, Original: ropeOriginal(c, p)}
	if low := p.Float("beta_slow", 1); low != 0 {
		r.LowFreq = low
	}
	if high := p.Float("beta_fast", 32); high != 0 {
		r.HighFreq = high
	}
	r.Factor = ropeFactor(p, s, r.Original)
	r.Fractional = !p.Bool("truncate", true)
	m, all := p.Float("mscale", 0), p.Float("mscale_all_dim", 0)
	switch {
	case p.Has("attention_factor"):
		r.Scale = p.Float("attention_factor")
	case m != 0 && all != 0:
		r.Scale = model.YarnScale(r.Factor, m) / model.YarnScale(r.Factor, all)
	default:
		r.Scale = model.YarnScale(r.Factor, 1)
	}
	if n := float64(r.Original) * r.Factor; n > float64(s.Context) && n <= model.MaxLength {
		s.Context = int(n) // configs that add the scaling to a model often keep its context
	}
	return withoutScale1(r)
}

// withoutScale1 returns r with the usual form of a scale of 1.
func withoutScale1(r model.Rope) model.Rope {
	if r.Scale == 1 {
		r.Scale = 0
	}
	return r
}

// ropeFactor reads factor, by default the ratio of the context to the original one.
func ropeFactor(p *config.Config, s *model.Spec, original int) float64 {
	return p.Float("factor", float64(s.Context)/float64(max(original, 1)))
}

// ropeLength is a key of Thimble's: the length of the texts for which a rotary embedding is
// computed that transformers computes anew for each length.
const ropeLength = "rope_length"

// longRope reads LongRoPE (arXiv 2402.13753). transformers divides the frequencies of a text
// by short_factor if it has at most the original number of positions, and all of them by
// long_factor otherwise; a text that grows beyond it would have to be computed again. Here a
// model is for one of the two kinds.
func longRope(c, p *config.Config, s *model.Spec, base float64) model.Rope {
	r := model.Rope{Base: base, Scaling: model.RopeFactors}
	original := ropeOriginal(c, p)
	short, long := p.Floats("short_factor"), p.Floats("long_factor")
	switch factor := ropeFactor(p, s, original); {
	case p.Has("attention_factor"):
		r.Scale = p.Float("attention_factor")
	case factor > 1 && original > 1:
		r.Scale = math.Sqrt(1 + kernel.Log64(factor)/kernel.Log64(float64(original)))
	}
	r.Factors = short
	switch n := c.Int(ropeLength, model.MaxLength, min(s.Context, original)); {
	case n > original:
		r.Factors, s.Context = long, max(s.Context, n)
	case s.Context > original:
		c.Note(fmt.Sprintf("rope_type longrope: the model is for texts of up to %d tokens, with short_factor, and longer ones are refused; "+
			"--set %s=%d makes one that computes all texts as transformers computes longer ones, with long_factor", original, ropeLength, s.Context))
		s.Context = original
	}
	return withoutScale1(r)
}

// dynamicRope reads the scaling that stretches the base with the length of a text beyond
// the context (modeling_rope_utils.py, _compute_dynamic_ntk_parameters). Within it, there is
// nothing to do.
func dynamicRope(c, p *config.Config, s *model.Spec, base float64) model.Rope {
	factor, dims := p.Float("factor"), float64(s.HeadDim)
	dims = float64(int(dims * p.Float("partial_rotary_factor", c.Float("partial_rotary_factor", 1))))
	n := c.Int(ropeLength, model.MaxLength, s.Context)
	if n <= s.Context {
		c.Note("rope_type dynamic changes nothing within the context, and longer texts are refused: read as default; --set " +
			ropeLength + "=N makes a model that computes all texts as transformers computes one of N tokens")
		return model.Rope{Base: base}
	}
	stretch := float64(factor*float64(n)/float64(s.Context)) - (factor - 1)
	s.Context = n
	return model.Rope{Base: base * kernel.Pow64(stretch, dims/(dims-2))}
}

// proportionalRope reads the form that rotates the pairs with the highest frequencies and leaves
// the others as they are, which is a division of their frequencies by a very large number.
func proportionalRope(_, p *config.Config, s *model.Spec, base float64) model.Rope {
	const still = model.MaxRopeFactor
	part, factor := p.Float("partial_rotary_factor", 1), p.Float("factor", 1)
	rotated := int(part * float64(s.HeadDim) / 2)
	if !(part > 0 && part <= 1) {
		p.Fail("partial_rotary_factor", "%g, want at most 1", part)
	} else if rotated == s.HeadDim/2 && factor == 1 {
		return model.Rope{Base: base}
	}
	r := model.Rope{Base: base, Scaling: model.RopeFactors, Factors: make([]float64, s.HeadDim/2)}
	for i := range r.Factors {
		if r.Factors[i] = still; i < rotated {
			r.Factors[i] = factor
		}
	}
	return r
}

// ropeOriginal returns the context of the pretraining: as in transformers, that outside p
// counts, then that in p, then the model's.
func ropeOriginal(c, p *config.Config) int {
	const key = "original_max_position_embeddings"
	def := p.Int(key, model.MaxLength, c.Int("max_position_embeddings", model.MaxLength))
	return c.Int(key, model.MaxLength, def)
}
