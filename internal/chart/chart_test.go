package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite testdata; inspect the pictures afterwards")

// smol returns a chart whose labels would overlap without placeLabels.
func smol() *Chart {
	points := func(theirs bool, xy ...any) (all []Point) {
		for i := 0; i < len(xy); i += 3 {
			p := Point{Label: xy[i].(string), X: xy[i+1].(float64), Y: xy[i+2].(float64)}
			p.About = fmt.Sprintf("%s, %g MB, KL %g", p.Label, p.X, p.Y)
			if !theirs {
				p.Label = fmt.Sprint(p.Y)
			}
			all = append(all, p)
		}
		return all
	}
	return &Chart{
		Title: "SmolLM2-135M on wikitext2-test", About: "Divergence against size.", XAxis: "size of the file, MB", YAxis: "mean KL, nats per token",
		Series: []Series{
			{Name: "Thimble", Joined: true, Points: points(false, "e", 138.4, 0.0007, "a", 92.0, 0.026, "b", 98.4, 0.018, "c", 105.5, 0.01, "d", 112.1, 0.0054)},
			{Name: "Thimble, int4/g32 and int8/g32", Points: points(false, "92MB", 92.0, 0.068)},
			{Name: "llama.cpp", Peer: true, Points: points(true, "Q4_0", 91.9, 0.209, "IQ4_XS", 90.9, 0.114, "IQ4_NL", 91.7, 0.112, "Q4_1", 98.4, 0.0752,
				"Q4_K_S", 102.0, 0.0637, "Q4_K_M", 105.5, 0.0465, "Q5_K_M", 112.1, 0.0210, "Q6_K", 138.4, 0.0079)},
		},
	}
}

func TestGolden(t *testing.T) {
	const name = "testdata/smol.svg"
	got := smol().SVG()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}

// elements parses a picture and returns the text content by element name.
func elements(t interface{ Fatalf(string, ...any) }, svg []byte) map[string][]string {
	found := map[string][]string{}
	d := xml.NewDecoder(bytes.NewReader(svg))
	var open []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch x := token.(type) {
		case xml.StartElement:
			open = append(open, x.Name.Local)
			for _, a := range x.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Fatalf("%s is %q in %s", a.Name.Local, a.Value, x.Name.Local)
				}
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				name := open[len(open)-1]
				found[name] = append(found[name], string(x))
			}
		}
	}
}

// A picture has a text alternative and no external resources.
func TestSelfContained(t *testing.T) {
	svg := smol().SVG()
	found := elements(t, svg)
	if got := found["desc"][0]; !strings.HasPrefix(got, "Divergence against size. Thimble: a, 92 MB, KL 0.026; b, 98.4 MB") || !strings.Contains(got, "llama.cpp: Q4_0, 91.9 MB, KL 0.209; ") {
		t.Error(got)
	}
	for _, without := range []string{"<script", "href", "url(", "@import", "http://www.w3.org/1999"} {
		if bytes.Contains(svg, []byte(without)) {
			t.Errorf("the picture contains %q", without)
		}
	}
	for _, with := range []string{"prefers-color-scheme:dark", `role="img" aria-labelledby="t d"`, `viewBox="0 0 400 400"`} {
		if !bytes.Contains(svg, []byte(with)) {
			t.Errorf("the picture lacks %q", with)
		}
	}
	for _, label := range []string{"Q4_0", "IQ4_XS", "IQ4_NL", "Q6_K", "0.0007", "0.2", "0.0005", "90", "140"} {
		if !strings.Contains("\n"+strings.Join(found["text"], "\n")+"\n", "\n"+label+"\n") {
			t.Errorf("the texts %q lack %q", found["text"], label)
		}
	}
}

// Names are escaped.
func TestEscaped(t *testing.T) {
	c := &Chart{Title: `<a href="x">`, XAxis: "&", YAxis: "\x00\xff", Series: []Series{{Name: "]]>", Points: []Point{{`"<>&'`, "<script>", 1, 1}}}}}
	found := elements(t, c.SVG())
	if found["title"][0] != c.Title || found["title"][1] != "<script>" || !strings.Contains(strings.Join(found["text"], " "), `"<>&'`) {
		t.Errorf("%q", found)
	}
}

// Labels hide neither each other nor points, and stay inside the picture.
func TestLabelsDoNotOverlap(t *testing.T) {
	c := smol().drawn()
	d := &drawing{width: width}
	d.axes(&c)
	var labels []label
	var points []spot
	for _, s := range c.Series {
		for _, p := range s.Points {
			at := spot{d.x.at(p.X), d.y.at(p.Y)}
			points = append(points, at)
			labels = append(labels, label{text: p.Label, at: at})
		}
	}
	placeLabels(labels, points, nil)
	for i, a := range labels {
		if a.box.outside(plotBox) > 0 {
			t.Errorf("label %s at %v is outside the plot", a.text, a.box)
		}
		for _, b := range labels[:i] {
			if a.box.overlap(b.box) > 0 {
				t.Errorf("label %s overlaps %s", a.text, b.text)
			}
		}
		for _, p := range points {
			if p.x > a.box.x0 && p.x < a.box.x1 && p.y > a.box.y0 && p.y < a.box.y1 {
				t.Errorf("label %s covers the point at %v", a.text, p)
			}
		}
	}
}

// A leader crosses neither labels nor other leaders, and passes no other point. A
// label without a leader is nearest to its own point.
func TestLeadersAreClear(t *testing.T) {
	labels := []label{}
	var points []spot
	for i := range 12 { // a crowd
		at := spot{150 + float64(3*(i%4)), 200 + float64(11*(i/4))}
		points = append(points, at)
		labels = append(labels, label{text: fmt.Sprintf("Q%d_K_M", i), at: at})
	}
	placeLabels(labels, points, nil)
	leaders := 0
	for i := range labels {
		a := &labels[i]
		if !a.leader && isAmbiguous(a, points) {
			t.Errorf("label %s at %v could be of another point", a.text, a.box)
		}
		if a.leader {
			leaders++
		}
		for j := range labels[:i] {
			if b := &labels[j]; crossingCost(a, b) > 0 {
				t.Errorf("the leaders or labels of %s and %s cross", a.text, b.text)
			}
		}
	}
	if leaders < 6 {
		t.Errorf("%d of 12 labels in a crowd have a leader", leaders)
	}
}

// A crowd of more labels than there is room for takes no time to speak of.
func TestManyLabels(t *testing.T) {
	if testing.Short() {
		t.Skip("the emulator's time tells nothing")
	}
	c := &Chart{}
	s := Series{Name: "peers", Peer: true}
	for i := range 60 {
		s.Points = append(s.Points, Point{Label: fmt.Sprintf("Q%d_K_M", i), X: 100 + float64(i%8), Y: 0.1 + 0.001*float64(i/8)})
	}
	c.Series = []Series{s}
	start := time.Now()
	c.SVG()
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("60 labels take %v", d)
	} else {
		t.Logf("60 labels take %v", d)
	}
}

// A title that does not fit one line continues in the next, and the picture grows.
func TestLongTitle(t *testing.T) {
	c := smol()
	c.Title = "A-Very-Long-Model-Name-2.5-1.7B-Instruct-Distilled-v0.3-int4-g32 on wikitext2-test"
	svg := c.SVG()
	if found := elements(t, svg)["text"]; strings.Join(found[:2], "") != strings.Replace(c.Title, " ", " ", 1) && strings.Join(found[:2], " ") != c.Title {
		t.Errorf("the title is %q", found[:2])
	}
	if !bytes.Contains(svg, []byte(`viewBox="0 0 400 418"`)) || !bytes.Contains(svg, []byte(`<g transform="translate(0 18)">`)) {
		t.Errorf("%.300s", svg)
	}
	for _, c := range []struct{ text, want string }{{"", ""}, {"one two", "one two"}, {"aaaaaaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaa|aaaaaaaaaaaa"}, {"SmolLM2-135M on the test", "SmolLM2-|135M on the|test"}} {
		if got := strings.Join(wrapped(c.text, 14, 100), "|"); got != c.want {
			t.Errorf("%q is wrapped to %s, want %s", c.text, got, c.want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		values []float64
		log    bool
		want   string
	}{
		{[]float64{90.9, 138.4}, false, "90 100 110 120 130 140"},
		{[]float64{0.72, 1.31}, false, "0.7 0.8 0.9 1.0 1.1 1.2 1.3"},
		{[]float64{92, 92}, false, "91.0 91.5 92.0 92.5 93.0"},
		{[]float64{13000, 27000}, false, "14000 16000 18000 20000 22000 24000 26000"},
		{[]float64{0.0007, 0.209}, true, "0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1 0.2 0.5"},
		{[]float64{6.6e-5, 0.0765}, true, "5e-5 0.0001 0.0002 0.0005 0.001 0.002 0.005 0.01 0.02 0.05 0.1"},
		{[]float64{6.6e-6, 0.3}, true, "3e-6 1e-5 3e-5 0.0001 0.0003 0.001 0.003 0.01 0.03 0.1 0.3"},
		{[]float64{1e-12, 0.2}, true, "1e-12 1e-10 1e-8 1e-6 0.0001 0.01 1"},
		{[]float64{0.03, 0.03}, true, "0.02 0.05"},
		{[]float64{2e-5, 9e-5}, true, "2e-5 5e-5 0.0001"},
	} {
		limit := 9
		if c.log {
			limit = maxYTicks
		}
		a := newAxis(c.values, c.log, 0, 1, xMargin, limit)
		if ticks := a.ticks(limit); c.log && !(ticks[0].value <= c.values[0] && ticks[len(ticks)-1].value >= c.values[len(c.values)-1]) {
			t.Errorf("%v: the ticks %v do not enclose the values", c.values, ticks)
		}
		var got []string
		for _, tick := range a.ticks(limit) {
			got = append(got, tick.text)
			if at := a.at(tick.value); at < -slack || at > 1+slack {
				t.Errorf("tick %s is at %v, outside the axis", tick.text, at)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%v: ticks %s, want %s", c.values, text, c.want)
		}
	}
}

// Any set of points gives a valid picture.
func TestAnyPoints(t *testing.T) {
	number := rapid.OneOf(rapid.Float64Range(1e-9, 1e9), rapid.SampledFrom([]float64{0, -1, 1, 1, math.NaN(), math.Inf(1), 1e-300, 1e300, math.MaxFloat64, math.SmallestNonzeroFloat64}))
	rapid.Check(t, func(t *rapid.T) {
		c := &Chart{Title: rapid.String().Draw(t, "title")}
		for range rapid.IntRange(0, 6).Draw(t, "series") {
			s := Series{Name: rapid.StringN(0, 60, -1).Draw(t, "name"), Peer: rapid.Bool().Draw(t, "theirs"), Joined: rapid.Bool().Draw(t, "joined")}
			for range rapid.IntRange(0, 8).Draw(t, "points") {
				s.Points = append(s.Points, Point{rapid.StringN(0, 50, -1).Draw(t, "label"), "", number.Draw(t, "x"), number.Draw(t, "y")})
			}
			c.Series = append(c.Series, s)
		}
		elements(t, c.SVG())
	})
}
