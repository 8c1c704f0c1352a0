package verify

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"thimble/internal/qtensor"
	"thimble/internal/spell"
	"thimble/internal/strictyaml"
)

// A Policy holds a team's requirements for its models. It is read from a YAML file,
// which docs/CI.md describes.
type Policy struct {
	Gates     []Gate // for every model that no rule fits
	Rules     []Rule // the first rule that fits replaces Gates
	Strict    bool
	Tolerance Tolerance // how much worse than a baseline figures may be
}

// A Rule holds the gates for models of certain schemes and sizes.
type Rule struct {
	Scheme      string  // pattern for the coarsest scheme, field by field: "int4" matches every int4, "int?/*/asym" all with a minimum
	From, Below float64 // range of the number of weights, without Below; a Below of 0 means no limit
	Gates       []Gate
}

// policyFile is the YAML of a Policy.
type policyFile struct {
	Gates []string `yaml:"gates"`
	Rules []struct {
		Scheme string   `yaml:"scheme"`
		From   float64  `yaml:"weights_from"`
		Below  float64  `yaml:"weights_below"`
		Gates  []string `yaml:"gates"`
	} `yaml:"rules"`
	Strict    bool               `yaml:"strict"`
	Tolerance map[string]float64 `yaml:"tolerance"`
}

// ParsePolicy parses a policy. It returns an error for unknown and repeated keys,
// metrics and schemes that do not exist, and rules that can never fit.
func ParsePolicy(text []byte) (*Policy, error) {
	var f policyFile
	if err := strictyaml.Decode(text, &f); err != nil {
		if e := new(strictyaml.UnknownKeyError); errors.As(err, &e) {
			return nil, fmt.Errorf("line %s: unknown field %q%s", e.Line, e.Key, cmp.Or(e.Hint, ", want one of "+strings.Join(e.Keys, ", ")))
		}
		return nil, err
	}
	p := &Policy{Strict: f.Strict}
	var err error
	if p.Gates, err = parseGates("gates", f.Gates); err != nil {
		return nil, err
	}
	for i, r := range f.Rules {
		where := fmt.Sprintf("rules[%d]", i)
		rule := Rule{Scheme: r.Scheme, From: r.From, Below: r.Below}
		if err := rule.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		if rule.Gates, err = parseGates(where+".gates", r.Gates); err != nil {
			return nil, err
		}
		if len(rule.Gates) == 0 {
			return nil, fmt.Errorf("%s has no gates", where)
		}
		p.Rules = append(p.Rules, rule)
	}
	if p.Tolerance, err = newTolerance(f.Tolerance); err != nil {
		return nil, fmt.Errorf("tolerance: %w", err)
	}
	return p, nil
}

func parseGates(where string, texts []string) (gates []Gate, err error) {
	for i, text := range texts {
		g, err := ParseGate(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", where, i, err)
		}
		gates = append(gates, g)
	}
	return gates, nil
}

// knownSchemes lists the first fields of the names of schemes.
var knownSchemes = []string{
	"f32", "f16", "bf16", "int2", "int3", "int4", "int5", "int6", "int7", "int8",
	"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K",
}

// check returns an error if r can never fit a model.
func (r *Rule) check() error {
	if r.Scheme == "" && r.From == 0 && r.Below == 0 {
		return errors.New("needs a scheme, weights_from or weights_below; gates of every model are gates of the policy")
	}
	for _, n := range []float64{r.From, r.Below} {
		if !(n >= 0 && n <= 1e15) {
			return fmt.Errorf("%v is not a number of weights", n)
		}
	}
	if r.Below != 0 && r.Below <= r.From {
		return fmt.Errorf("no model has from %g and below %g weights", r.From, r.Below)
	}
	if r.Scheme == "" {
		return nil
	}
	for _, field := range strings.Split(r.Scheme, "/") {
		if _, err := path.Match(field, ""); err != nil {
			return fmt.Errorf("scheme %q: %w", r.Scheme, err)
		}
	}
	first, _, _ := strings.Cut(r.Scheme, "/")
	if !slices.ContainsFunc(knownSchemes, func(name string) bool { ok, _ := path.Match(first, name); return ok }) {
		return fmt.Errorf("scheme %q: no scheme begins with it%s", r.Scheme, spell.Suggest(first, knownSchemes))
	}
	return nil
}

// fits reports whether r applies to a model that has that many weights and whose
// coarsest scheme is s.
func (r *Rule) fits(s qtensor.Scheme, weights int64) bool {
	if n := float64(weights); n < r.From || r.Below > 0 && n >= r.Below {
		return false
	}
	if r.Scheme == "" {
		return true
	}
	patterns, fields := strings.Split(r.Scheme, "/"), strings.Split(s.String(), "/")
	if len(patterns) > len(fields) {
		return false
	}
	for i, pattern := range patterns {
		if ok, err := path.Match(pattern, fields[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// GatesFor returns the gates for m, which must have passed Check: those of the first
// rule that fits, otherwise the policy's own. p must have gates.
func (p *Policy) GatesFor(m *Model) ([]Gate, error) {
	weights, _ := m.Size()
	s := coarsest(m)
	for _, r := range p.Rules {
		if r.fits(s, weights) {
			return r.Gates, nil
		}
	}
	if len(p.Gates) == 0 {
		return nil, fmt.Errorf("no rule is for a model of %d weights in %v, and there are no gates for those without a rule", weights, s)
	}
	return p.Gates, nil
}

// HasGates reports whether p has gates of its own.
func (p *Policy) HasGates() bool { return len(p.Gates)+len(p.Rules) > 0 }

// A Tolerance holds, by name, how much worse figures may be than in a baseline: as a
// fraction of the baseline's value, or for shares as a difference.
type Tolerance map[string]float64

// newTolerance returns the default tolerance with the figures in given replaced.
func newTolerance(given map[string]float64) (Tolerance, error) {
	t := Tolerance{}
	var names []string
	for i := range baselineMetrics {
		names = append(names, baselineMetrics[i].name)
		t[baselineMetrics[i].name] = baselineMetrics[i].tolerance
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		v := given[name]
		if _, ok := t[name]; !ok {
			return nil, fmt.Errorf("there is no figure %q, want one of %s%s", name, strings.Join(names, ", "), spell.Suggest(name, names))
		}
		if !(v >= 0) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: a tolerance of %v, want 0 or more", name, v)
		}
		t[name] = v
	}
	return t, nil
}
