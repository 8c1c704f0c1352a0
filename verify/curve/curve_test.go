package curve

import (
	"math"
	"os"
	"strings"
	"testing"

	"thimble/internal/label"
)

// Between the points of a line, the logarithm of the divergence is linear.
func TestAt(t *testing.T) {
	r := &Report{}
	for _, p := range []struct {
		series string
		bytes  int64
		kl     Value
	}{{"a", 200, 0.01}, {"a", 100, 0.1}, {"a", 300, 0.0001}, {"", 150, 1e-6}, {"b", 100, 0.2}, {"b", 110, 0.001}} {
		r.Rows = append(r.Rows, Row{Bytes: p.bytes, Series: p.series, Measured: []Point{{KLMean: p.kl}}})
	}
	for bytes, want := range map[float64]float64{100: 0.1, 200: 0.01, 150: math.Sqrt(0.001), 250: 0.001, 300: 0.0001, 99: 0.1 * math.Pow(10, 0.01), 305: 0.0001 * math.Pow(10, -0.1), 110: 0.001, 97: 0, 307: 0} {
		got, ok := r.At(0, bytes)
		if ok != (want > 0) || math.Abs(got-want) > 1e-9*want {
			t.Errorf("At(0, %v) = %v, %t, want %v", bytes, got, ok, want)
		}
	}
}

// A row that another program will run has the size of the exported file everywhere.
func TestShippedSize(t *testing.T) {
	r := &Report{Model: "m", Texts: []Text{{Name: "t"}}}
	for _, x := range []struct{ bytes, export int64 }{{100e6, 111e6}, {200e6, 222e6}} {
		r.Rows = append(r.Rows, Row{Name: "row", Series: "a", Bytes: x.bytes, ExportBytes: x.export, Measured: []Point{{KLMean: 0.1}}})
	}
	if _, ok := r.At(0, 105e6); ok {
		t.Error("the curve covers the size of the container")
	}
	for _, text := range []string{r.String(), r.Markdown(), string(r.SVG(0))} {
		if !strings.Contains(text, "111.0") || strings.Contains(text, "100.0 MB") || strings.Contains(text, " 100.0 ") {
			t.Errorf("want 111.0 MB in place of 100.0 MB:\n%s", text)
		}
	}
}

func TestPeersOfDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/curve/peers-smollm2.yaml")
	if err != nil {
		t.Fatal(err)
	}
	peers, note, err := ParsePeers(text, []string{"wikitext2-test"})
	if err != nil || len(peers) != 16 || commonWords(peers) != "llama.cpp " {
		t.Errorf("%d peers, %v, want 8 of llama.cpp on each of two texts", len(peers), err)
	}
	if note == "" {
		t.Error("no note on the peers measured on the other text")
	}
}

// Any text is a list of peers, of which each can be drawn, or an error in one line.
func FuzzParsePeers(f *testing.F) {
	for _, text := range []string{
		"- {name: Q4_0, bytes: 91e6, kl: 0.2, text: test}", `[{"name": "a", "bytes": 1, "kl": 1e-300, "text": "x", "kl_p99": 0, "top1": 1, "ppl": 1}]`,
		"- {name: a, bytes: .inf, kl: .nan, text: t}", "[{}]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		peers, note, err := ParsePeers(text, []string{"test"})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("not one line: %q", err)
			}
			return
		}
		if strings.Contains(note, "\n") {
			t.Errorf("not one line: %q", note)
		}
		for _, p := range peers {
			if !(p.Bytes >= 1 && p.KL > 0) || math.IsInf(p.Bytes+p.KL, 0) || label.Check(p.Name) != nil {
				t.Errorf("%+v", p)
			}
		}
	})
}
