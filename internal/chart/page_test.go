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

// A picture is part of an HTML page.
type picture interface{ SVG(id string) []byte }

// onPage returns pictures of each kind.
func onPage() []picture {
	return []picture{
		&ColumnChart{Title: "columns", About: "How many.", XAxis: "KL", YAxis: "positions", Log: true, Edges: []float64{0, 1e-3, 1.5e-3, 2.2e-3, 3.3e-3},
			Columns: []Column{{3, "below 0.001: 3"}, {0, "none"}, {10, "ten"}, {1, "one"}}},
		&ColumnChart{Title: "named", XAxis: "prompt", YAxis: "KL", Edges: []float64{-0.5, 0.5, 1.5}, Columns: []Column{{2e-7, "prompt 0"}, {3e-7, "prompt 1"}}, Marks: []Mark{{0, "0"}, {1, "1"}}},
		&ColumnChart{Title: "none diverge", Log: true, Edges: []float64{0, 1e-9}, Columns: []Column{{7, "all"}}},
		&BarChart{Title: "bars", About: "By stage.", Bars: []Bar{{"weights", "0.2", 0.2, true}, {"activations", "-0.05", -0.05, false}, {"unknown", "-", math.NaN(), false}}},
		&Span{Title: "span", Low: 0.02, Value: 0.026, High: 0.03, Limit: 0.028, From: 0, To: 0.04},
		&Span{Title: "span", Low: 0.9, Value: 0.9, High: 0.9, Limit: 0.5, AtLeast: true, From: 0.4, To: 1},
		&LineChart{Title: "lines", About: "By step.", XAxis: "step", YAxis: "error", Lines: []Line{{"added", []float64{1e-3, 2e-3, 0, 5e-3}}, {"inherited", []float64{0, 1e-2, 2e-2, math.NaN()}}},
			Marks: []Mark{{0, "0"}, {2, "1"}}, Highlight: &Mark{2, "attention"}},
	}
}

func TestPageGolden(t *testing.T) {
	var all bytes.Buffer
	fmt.Fprintf(&all, "<!DOCTYPE html>\n<style>%s</style>\n", Style())
	for i, p := range onPage() {
		svg := p.SVG(fmt.Sprintf("p%d", i))
		all.Write(svg)
		if bytes.Count(svg, []byte(` id="`)) != bytes.Count(svg, fmt.Appendf(nil, ` id="p%d`, i)) {
			t.Errorf("picture %d has an id that does not begin with p%[1]d: %s", i, svg)
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

// The text alternative of a picture includes its values.
func TestPageDescriptions(t *testing.T) {
	for i, want := range []string{
		"How many. below 0.001: 3. ten. one.", "prompt 0. prompt 1.", "all.", "By stage. weights: 0.2. activations: -0.05. unknown: -.", "", "", "By step.",
	} {
		found := elements(t, onPage()[i].SVG("x"))
		if want == "" {
			if found["title"][0] != "span" {
				t.Errorf("picture %d has the title %q, want span", i, found["title"])
			}
			continue
		}
		if got := strings.Join(found["desc"], ""); got != want {
			t.Errorf("picture %d has the description %q, want %q", i, got, want)
		}
	}
}

// The values beyond the limit are shaded, on the side that AtLeast selects.
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

// Any numbers and names give valid pictures.
func TestAnyPage(t *testing.T) {
	number := rapid.OneOf(rapid.Float64(), rapid.Float64Range(1e-9, 1e9), rapid.SampledFrom([]float64{0, -1, 1, math.NaN(), math.Inf(1), math.Inf(-1), 1e-300, math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		name := func() string { return rapid.StringN(0, 60, -1).Draw(t, "name") }
		value := func() float64 { return number.Draw(t, "value") }
		n := rapid.IntRange(0, 8).Draw(t, "n")
		c := &ColumnChart{Title: name(), XAxis: name(), YAxis: name(), Log: rapid.Bool().Draw(t, "log"), Edges: []float64{0}}
		b, l := &BarChart{Title: name()}, &LineChart{Title: name(), YAxis: name(), Highlight: &Mark{rapid.IntRange(0, 9).Draw(t, "at"), name()}}
		for i := range n {
			c.Columns = append(c.Columns, Column{value(), name()})
			c.Edges = append(c.Edges, float64(i+1))
			b.Bars = append(b.Bars, Bar{name(), name(), value(), true})
			l.Lines = append(l.Lines, Line{name(), rapid.SliceOfN(number, 0, 5).Draw(t, "values")})
			l.Marks = append(l.Marks, Mark{i, name()})
		}
		s := &Span{name(), value(), value(), value(), value(), rapid.Bool().Draw(t, "least"), value(), value()}
		for _, p := range []picture{c, b, l, s} {
			elements(t, p.SVG("x"))
		}
	})
}
