package order

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"thimble/convert"
	"thimble/internal/model"
	"thimble/internal/qtensor"
	"thimble/quantize"
	"thimble/quantize/power"
	"thimble/quantize/rounding"
	"thimble/quantize/words"
)

func open(t *testing.T, name string) *model.Model {
	t.Helper()
	m, err := convert.Open(filepath.Join("..", "..", "fixtures", name), convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// random returns profiles in which channels differ as in an embedding: by a factor of e on average.
func random(n int) (all []*profile) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		p := &profile{weights: 1 + r.Float64()}
		for range n {
			p.magnitude = append(p.magnitude, math.Exp(8*r.NormFloat64()))
			p.power = append(p.power, math.Exp(r.NormFloat64()))
		}
		p.magnitude = normalized(p.magnitude)
		all = append(all, p)
	}
	return all
}

// whole returns the sum over profiles of weights times the logarithm of the loss, group by group.
func whole(profiles []*profile, order []int32, group int) (sum float64) {
	for _, p := range profiles {
		total := 0.0
		for channels := range slices.Chunk(order, group) {
			magnitude, power := 0.0, 0.0
			for _, c := range channels {
				magnitude += p.magnitude[c]
				power += p.power[c]
			}
			total += math.Pow(magnitude, 0.25) * power
		}
		sum += p.weights * math.Log(total)
	}
	return sum
}

// An order has each channel once, lowers the loss of its groups and of larger ones, also if the
// last group is smaller, and ends where no exchange of two channels gains much.
func TestArrange(t *testing.T) {
	for _, n := range []int{1, 31, 32, 64, 100, 128, 520} {
		profiles := random(n)
		got := arrange(profiles, natural(n), 32)
		if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, natural(n)) {
			t.Fatalf("%d channels: %v", n, got)
		}
		if n <= 32 {
			continue
		}
		for _, group := range []int{32, 64} {
			if before, after := whole(profiles, natural(n), group), whole(profiles, got, group); n > group && !(after < before-0.1) {
				t.Errorf("%d channels in groups of %d: loss %.3f, was %.3f", n, group, after, before)
			}
		}
		best := whole(profiles, got, 32)
		r := rand.New(rand.NewPCG(5, 6))
		for range 200 {
			a, b := r.IntN(n), r.IntN(n)
			got[a], got[b] = got[b], got[a]
			if other := whole(profiles, got, 32); other < best-0.02 {
				t.Errorf("%d channels: exchanging places %d and %d gains %.3f", n, a, b, best-other)
			}
			got[a], got[b] = got[b], got[a]
		}
	}
}

// The gain of an exchange is the derivative of the whole loss, and sums stay those of the groups.
func TestGain(t *testing.T) {
	profiles := random(96)
	for _, p := range profiles { // small exchanges: the derivative is exact
		for c := range p.magnitude {
			p.magnitude[c], p.power[c] = 1+1e-4*math.Sin(float64(c)+p.weights), 1+1e-4*math.Cos(float64(c)*p.weights)
		}
	}
	s := &search{profiles: len(profiles), group: 32}
	for c := range int32(96) {
		s.units = append(s.units, []int32{c})
	}
	for _, p := range profiles {
		s.weights = append(s.weights, p.weights)
	}
	s.begin(profiles)
	s.weigh()
	order := natural(96)
	for _, x := range [][2]int{{0, 40}, {31, 95}, {33, 70}, {3, 5}} {
		before := whole(profiles, order, 32)
		order[x[0]], order[x[1]] = order[x[1]], order[x[0]]
		gain := s.gain(x[0], x[1])
		if want := before - whole(profiles, order, 32); math.Abs(gain-want) > 1e-3*math.Abs(want)+1e-12 {
			t.Errorf("exchanging places %v gains %g, want %g", x, gain, want)
		}
		if x[0]/32 != x[1]/32 {
			s.swap(x[0], x[1])
		}
	}
	fresh := *s
	fresh.units, fresh.group = nil, 32
	for _, u := range s.place {
		fresh.units = append(fresh.units, s.units[u])
	}
	fresh.begin(profiles)
	for i, v := range fresh.losses {
		if math.Abs(v-s.losses[i]) > 1e-9 {
			t.Errorf("loss %d is %g after exchanges, %g afresh", i, s.losses[i], v)
		}
	}
}

// The order depends neither on the number of cores nor on the processor, and inputs are turned with
// the channels.
func TestReordered(t *testing.T) {
	m := open(t, "trained")
	ordered, inputs, err := Reordered(t.Context(), m, 32)
	if err != nil {
		t.Fatal(err)
	}
	channels := ordered.Provenance.Channels
	if err := m.Spec.CheckChannels(channels); err != nil || slices.IsSorted(channels) {
		t.Error(err, channels)
	}
	const want = "d5e871a923762693"
	if got := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, channels)))[:16]; got != want {
		t.Errorf("the order hashes to %s, want %s", got, want)
	}
	again, err := power.Inputs(t.Context(), ordered)
	if err != nil {
		t.Fatal(err)
	}
	for name, in := range again { // apart from the order of sums
		for c, v := range in.Power {
			if got := inputs[name].Power[c]; math.Abs(float64(got-v)) > 1e-4*float64(v) {
				t.Fatalf("%s: column %d has power %g, want %g", name, c, got, v)
			}
		}
	}
	for _, cores := range []int{1, 4} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		same, _, err := Reordered(t.Context(), m, 32)
		if err != nil || !slices.Equal(same.Provenance.Channels, channels) {
			t.Errorf("on %d cores: %v, %v, want %v", cores, err, same.Provenance.Channels, channels)
		}
	}
}

// Channels are reordered for the groups of most weights, unless that is impossible.
func TestGroup(t *testing.T) {
	m := open(t, "trained")
	partial, ordered, stored := *m, *m.Reordered(natural(m.Spec.Hidden)), *m
	partial.Partial = true
	stored.Tensors = map[string]*qtensor.Matrix{model.Embed: {Scheme: qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}}}
	for _, c := range []struct {
		m       *model.Model
		r       quantize.Recipe
		schemes string
		want    int
	}{
		{m, quantize.Recipe{}, "int4/g32", 32},
		{m, quantize.Recipe{Method: rounding.MethodGPTQ}, "int4/g64 int5/g64 int4/g32", 64},
		{m, quantize.Recipe{}, "int4/g32 int4/g16", 16},
		{m, quantize.Recipe{}, "int4/row bf16 int8/row", 0},
		{m, quantize.Recipe{}, "int4/g96", 0},
		{m, quantize.Recipe{Without: []string{rounding.StepReorder}}, "int4/g32", 0},
		{m, quantize.Recipe{Method: "none"}, "int4/g32", 0},
		{&partial, quantize.Recipe{}, "int4/g32", 0},
		{&ordered, quantize.Recipe{}, "int4/g32", 0},
		{&stored, quantize.Recipe{}, "int4/g32", 0},
	} {
		var schemes []qtensor.Scheme
		for _, text := range strings.Fields(c.schemes) {
			s, err := words.Scheme(text)
			if err != nil {
				t.Fatal(err)
			}
			schemes = append(schemes, s)
		}
		if got := Group(c.m, &c.r, schemes, nil); got != c.want {
			t.Errorf("%s, %+v: group %d, want %d", c.schemes, c.r, got, c.want)
		}
	}
	r := &quantize.Recipe{Scheme: "int4/g32", Embedding: "int8/row"}
	p, err := quantize.NewPlan(m, r)
	if err != nil || GroupOf(m, r, p) != 32 {
		t.Errorf("%v: group %d", err, GroupOf(m, r, p))
	}
}
