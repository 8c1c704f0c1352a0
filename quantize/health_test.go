package quantize

import (
	"crypto/sha256"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A run reports what it saw, and stores the same bytes with and without a Health.
func TestHealthOfARun(t *testing.T) {
	var first *Health
	var bytes string
	for _, procs := range []int{1, 8, 0} {
		if procs > 0 {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		}
		m := livelyModel(t, nil)
		up := m.Tensors["blocks.1.up"]
		for _, r := range []int{3, 50} { // outputs that are always zero
			if err := up.SetFloats(r, make([]float32, up.Cols)); err != nil {
				t.Fatal(err)
			}
		}
		p := calibratedPlan(t, m, Recipe{Scheme: "int4/g32", Rules: []Rule{{"blocks.0.o", "f32"}}})
		c := randomTexts(5, 60, m.Spec.Vocab)
		if procs > 0 {
			c.Health = NewHealth(c, m, p, func(id int) bool { return id < 2 })
		}
		h := hashing{sha256.New()}
		if err := Run(t.Context(), m, p, c, h, nil); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)); bytes != "" && got != bytes {
			t.Errorf("on %d cores other bytes", procs)
		} else {
			bytes = got
		}
		if first == nil {
			first = c.Health
		} else if diff := cmp.Diff(first, c.Health, cmpopts.IgnoreUnexported(InputHealth{})); procs > 0 && diff != "" {
			t.Error(diff)
		}
	}
	var kinds []string
	for _, in := range first.Inputs {
		kinds = append(kinds, fmt.Sprintf("%v %d of %d", in.Kinds, in.Blocks, in.Width))
		if !(in.RankLeast >= 1 && in.RankLeast <= in.RankMedian && in.RankMedian <= in.RankMost && in.RankMost <= float64(in.Width)) || in.Capped < 1 {
			t.Errorf("%+v", in)
		}
	}
	want := []string{"[q k v] 2 of 40", "[gate up] 2 of 40", "[down] 2 of 72", "[o] 1 of 40"}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Error(diff)
	}
	if down := first.Inputs[2]; down.Dead != 2 || down.DeadBlock != 1 {
		t.Errorf("%d dead channels in block %d, want 2 in 1", down.Dead, down.DeadBlock)
	}
	for i, want := range []string{
		"300 tokens are fewer than 8 for each of the 72 input columns of blocks.0.down, so rounding overfits the text; use --calib-tokens 600 or more",
		"300 tokens are too few to correct for rounding upstream, so the correction is omitted; use --calib-tokens 480 or more",
		"2 of 72 input channels of down in block 1 were never active, so their columns are rounded blindly; use longer or more varied text",
	} {
		if i >= len(first.Warnings) || first.Warnings[i] != want {
			t.Errorf("warnings are %q, want %q as number %d", first.Warnings, want, i)
		}
	}
}

func TestNewHealth(t *testing.T) {
	m := livelyModel(t, nil)
	p := calibratedPlan(t, m, Recipe{Scheme: "f16", Rules: []Rule{{"blocks.*.q", "int4/g32"}}})
	c := &Calibration{Texts: [][]int{{1, 5, 5, 7}, {1, 5, 5, 5, 29, 5}}}
	h := NewHealth(c, m, p, func(id int) bool { return id == 1 || id == 2 })
	want := &Health{
		Tokens: 10, Pieces: 2, Context: 6, Vocabulary: 30, IDsSeen: 4, MostFrequent: 5, FrequencyShare: 0.6, SpecialsSeen: 1, SpecialTokens: 2,
		Widest: "blocks.0.q", Columns: 40,
		Warnings: []string{
			"10 tokens are fewer than 8 for each of the 40 input columns of blocks.0.q, so rounding overfits the text; use --calib-tokens 324 or more",
			"10 tokens are too few to correct for rounding upstream, so the correction is omitted; use --calib-tokens 480 or more",
			"token 5 makes up 60% of the text, so rounding favors it; remove padding and repeated passages from the text",
		},
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(h.String(), "calibration: 10 tokens in 2 pieces of 6\nwarning: 10 tokens are fewer") {
		t.Errorf("%q", h)
	}
	enough := NewHealth(randomTexts(20, 60, m.Spec.Vocab), m, p, func(int) bool { return false })
	if len(enough.Warnings) > 0 {
		t.Errorf("of 1200 random tokens it warns %q", enough.Warnings)
	}
	spread := &Health{Tokens: 100, Inputs: []*InputHealth{{Kinds: []string{"o"}, RankMost: 20, most: 3}, {Kinds: []string{"q", "k"}, RankMost: 12}}}
	spread.warnOfInputs()
	if diff := cmp.Diff([]string{"the input of o in block 3 spreads over 20 directions, too many for 100 tokens to sample; use --calib-tokens 160 or more"}, spread.Warnings); diff != "" {
		t.Error(diff)
	}
	// The remedy counts whole pieces, and asks for another text if this one has too few.
	c.Available = 320
	if got := NewHealth(c, m, p, func(int) bool { return false }).Warnings[0]; !strings.HasSuffix(got, "use a longer text (this one gives 320) and --calib-tokens 324 or more") {
		t.Error(got)
	}
	c.Available = 324
	if got := NewHealth(c, m, p, func(int) bool { return false }).Warnings[0]; !strings.HasSuffix(got, "; use --calib-tokens 324 or more") {
		t.Error(got)
	}
	var none *Health
	none.add(0, observation{})
	none.warnOfInputs()
}
