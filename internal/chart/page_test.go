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

// onPage returns pictures of each kind.
func onPage() []Picture {
	return []Picture{
		&ColumnChart{Title: "columns", About: "How many.", XAxis: "KL", YAxis: "positions", Log: true, Edges: []float64{0, 1e-3, 1.5e-3, 2.2e-3, 3.3e-3},
			Columns: []Datum{{3, "below 0.001: 3"}, {0, "none"}, {10, "ten"}, {1, "one"}}},
		&ColumnChart{Title: "named", XAxis: "prompt", YAxis: "KL", Edges: []float64{-0.5, 0.5, 1.5}, Columns: []Datum{{2e-7, "prompt 0"}, {3e-7, "prompt 1"}}, Marks: []Mark{{0, "0"}, {1, "1"}}},
		&ColumnChart{Title: "none diverge", Log: true, Edges: []float64{0, 1e-9}, Columns: []Datum{{7, "all"}}},
		&BarChart{Title: "bars", About: "By stage.", Bars: []Bar{{"weights", "0.2", 0.2, true}, {"activations", "-0.05", -0.05, false}, {"unknown", "-", math.NaN(), false}}},
		&LineChart{Title: "lines", About: "By step.", XAxis: "step", YAxis: "error", Values: []Datum{{1e-3, "step 0"}, {2e-3, "step 1"}, {0, "none"}, {5e-3, "step 3"}},
			Marks: []Mark{{0, "0"}, {2, "1"}}, Highlight: &Mark{2, "attention"}, Limit: &Limit{4e-3, "the gate"}},
	}
}

func TestPageGolden(t *testing.T) {
	var all bytes.Buffer
	fmt.Fprintf(&all, "<!DOCTYPE html>\n<style>%s</style>\n", Style())
	spans := []*Span{
		{Title: "span", Low: 0.02, Value: 0.026, High: 0.03, Limit: 0.028, LimitText: "<= 0.028", From: 0, To: 0.04},
		{Title: "span", Low: 0.9, Value: 0.9, High: 0.9, Limit: 0.5, AtLeast: true, From: 0.4, To: 1},
	}
	for i, p := range onPage() {
		svg := Responsive(p, fmt.Sprintf("p%d", i))
		all.Write(svg)
		if bytes.Count(svg, []byte(` id="`)) != bytes.Count(svg, fmt.Appendf(nil, ` id="p%d`, i)) {
			t.Errorf("picture %d has an id that does not begin with p%[1]d: %s", i, svg)
		}
	}
	for i, s := range spans {
		all.Write(s.SVG(fmt.Sprintf("s%d", i)))
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
		"How many. below 0.001: 3. ten. one.", "prompt 0. prompt 1.", "all.", "By stage. weights: 0.2. activations: -0.05. unknown: -.", "By step.",
	} {
		found := elements(t, onPage()[i].SVG("x", Narrow))
		if got := strings.Join(found["desc"], ""); got != want {
			t.Errorf("picture %d has the description %q, want %q", i, got, want)
		}
	}
}

// The values beyond the limit are shaded, on the side that AtLeast selects.
func TestSpanSides(t *testing.T) {
	svg := string((&Span{Title: "t", Value: 3, Low: 3, High: 3, Limit: 5, LimitText: "<= 5", From: 0, To: 10}).SVG("x"))
	for _, want := range []string{`<rect class="refused" x="50%" y="2" width="50%"`, `cx="30.8%"`, `<line class="limit" x1="50%"`, `>&lt;= 5</text>`, `<title id="xt">t</title>`} {
		if !strings.Contains(svg, want) {
			t.Errorf("%s lacks %s", svg, want)
		}
	}
	if strings.Contains(svg, "reach") {
		t.Error(svg)
	}
	svg = string((&Span{Value: 3, Low: 2, High: 4, Limit: 5, AtLeast: true, From: 0, To: 10}).SVG("x"))
	if !strings.Contains(svg, `<rect class="refused" x="0%" y="2" width="50%"`) || !strings.Contains(svg, `class="reach" x1="21.2%" y1="12" x2="40.4%"`) {
		t.Error(svg)
	}
}

// What is above the limit of a LineChart is shaded, and the limit is on the picture
// even if all values are far from it.
func TestLineLimit(t *testing.T) {
	l := &LineChart{Values: []Datum{{Value: 0.3}, {Value: 0.4}}, Limit: &Limit{Value: 1, Text: "limit"}}
	for _, width := range []int{Narrow, Wide} {
		svg := string(l.SVG("x", width))
		for _, want := range []string{`class="refused" d="M56 50H` + fmt.Sprint(width-16), `class="limit"`, ">limit</text>", ">1</text>", ">0.2</text>"} {
			if !strings.Contains(svg, want) {
				t.Errorf("%s lacks %s", svg, want)
			}
		}
	}
	l.Limit.Value = 0
	if svg := string(l.SVG("x", Wide)); strings.Contains(svg, "limit") {
		t.Errorf("a limit of 0 is drawn on a logarithmic axis: %s", svg)
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
		b, l := &BarChart{Title: name()}, &LineChart{Title: name(), YAxis: name(), Highlight: &Mark{rapid.IntRange(0, 9).Draw(t, "at"), name()}, Limit: &Limit{value(), name()}}
		for i := range n {
			c.Columns = append(c.Columns, Datum{value(), name()})
			c.Edges = append(c.Edges, float64(i+1))
			b.Bars = append(b.Bars, Bar{name(), name(), value(), true})
			l.Values = append(l.Values, Datum{value(), name()})
			l.Marks = append(l.Marks, Mark{i, name()})
		}
		s := &Span{name(), value(), value(), value(), value(), name(), rapid.Bool().Draw(t, "least"), value(), value()}
		elements(t, s.SVG("x"))
		for _, p := range []Picture{c, b, l} {
			elements(t, p.SVG("x", Narrow))
			elements(t, p.SVG("x", Wide))
		}
	})
}
