package chart

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A picture of a page.
type picture interface{ SVG(id string) []byte }

// onPage is one picture of each kind.
func onPage() []picture {
	return []picture{
		&Columns{Title: "columns", About: "How many.", XAxis: "KL", YAxis: "positions", Log: true, Edges: []float64{0, 1e-3, 1.5e-3, 2.2e-3, 3.3e-3},
			Of: []Column{{3, "below 0.001: 3"}, {0, "none"}, {10, "ten"}, {1, "one"}}},
		&Columns{Title: "named", XAxis: "prompt", YAxis: "KL", Edges: []float64{-0.5, 0.5, 1.5}, Of: []Column{{2e-7, "prompt 0"}, {3e-7, "prompt 1"}}, Marks: []Mark{{0, "0"}, {1, "1"}}},
		&Columns{Title: "none diverge", Log: true, Edges: []float64{0, 1e-9}, Of: []Column{{7, "all"}}},
		&Bars{Title: "bars", About: "By stage.", Of: []Bar{{"weights", "0.2", 0.2, true}, {"activations", "-0.05", -0.05, false}, {"unknown", "-", math.NaN(), false}}},
		&Span{Title: "span", Low: 0.02, Value: 0.026, High: 0.03, Limit: 0.028, From: 0, To: 0.04},
		&Span{Title: "span", Low: 0.9, Value: 0.9, High: 0.9, Limit: 0.5, AtLeast: true, From: 0.4, To: 1},
		&Lines{Title: "lines", About: "By step.", XAxis: "step", YAxis: "error", Of: []Line{{"added", []float64{1e-3, 2e-3, 0, 5e-3}}, {"inherited", []float64{0, 1e-2, 2e-2, math.NaN()}}},
			Marks: []Mark{{0, "0"}, {2, "1"}}, Loud: &Mark{2, "attention"}},
	}
}

func TestPageGolden(t *testing.T) {
	var all bytes.Buffer
	fmt.Fprintf(&all, "<!DOCTYPE html>\n<style>%s</style>\n", Style())
	for i, p := range onPage() {
		svg := p.SVG(fmt.Sprintf("p%d", i))
		all.Write(svg)
		if bytes.Count(svg, []byte(` id="`)) != bytes.Count(svg, fmt.Appendf(nil, ` id="p%d`, i)) {
			t.Errorf("picture %d has an id of another: %s", i, svg)
		}
	}
	const name = "testdata/page.html"
	if *update {
		if err := os.WriteFile(name, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Error(diff)
	}
}

// What is seen is also said.
func TestPageWords(t *testing.T) {
	for i, want := range []string{
		"How many. below 0.001: 3. ten. one.", "prompt 0. prompt 1.", "all.", "By stage. weights: 0.2. activations: -0.05. unknown: -.", "", "", "By step.",
	} {
		found := elements(t, onPage()[i].SVG("x"))
		if want == "" {
			if found["title"][0] != "span" {
				t.Errorf("%d is called %q", i, found["title"])
			}
			continue
		}
		if got := strings.Join(found["desc"], ""); got != want {
			t.Errorf("%d says %q, want %q", i, got, want)
		}
	}
}

// What a limit refuses is on its side, and the dot is on the other one if it is met.
func TestSpanSides(t *testing.T) {
	svg := string((&Span{Value: 3, Low: 3, High: 3, Limit: 5, From: 0, To: 10}).SVG("x"))
	if !strings.Contains(svg, `class="refused" d="M200 2H100V22H200Z"`) || !strings.Contains(svg, `cx="62.4"`) || strings.Contains(svg, "reach") {
		t.Error(svg)
	}
	svg = string((&Span{Value: 3, Low: 2, High: 4, Limit: 5, AtLeast: true, From: 0, To: 10}).SVG("x"))
	if !strings.Contains(svg, `class="refused" d="M0 2H100V22H0Z"`) || !strings.Contains(svg, `class="reach" d="M43.6 12H81.2"`) {
		t.Error(svg)
	}
}

// Any numbers and names at all make pictures.
func TestAnyPage(t *testing.T) {
	number := rapid.OneOf(rapid.Float64(), rapid.Float64Range(1e-9, 1e9), rapid.SampledFrom([]float64{0, -1, 1, math.NaN(), math.Inf(1), math.Inf(-1), 1e-300, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		name := func() string { return rapid.StringN(0, 60, -1).Draw(t, "name") }
		value := func() float64 { return number.Draw(t, "value") }
		n := rapid.IntRange(0, 8).Draw(t, "n")
		c := &Columns{Title: name(), XAxis: name(), YAxis: name(), Log: rapid.Bool().Draw(t, "log"), Edges: []float64{0}}
		b, l := &Bars{Title: name()}, &Lines{Title: name(), YAxis: name(), Loud: &Mark{rapid.IntRange(0, 9).Draw(t, "at"), name()}}
		for i := range n {
			c.Of = append(c.Of, Column{value(), name()})
			c.Edges = append(c.Edges, float64(i+1))
			b.Of = append(b.Of, Bar{name(), name(), value(), true})
			l.Of = append(l.Of, Line{name(), rapid.SliceOfN(number, 0, 5).Draw(t, "values")})
			l.Marks = append(l.Marks, Mark{i, name()})
		}
		s := &Span{name(), value(), value(), value(), value(), rapid.Bool().Draw(t, "least"), value(), value()}
		for _, p := range []picture{c, b, l, s} {
			elements(t, p.SVG("x"))
		}
	})
}
