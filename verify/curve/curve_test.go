package curve

import (
	"math"
	"os"
	"testing"
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

func TestNames(t *testing.T) {
	for path, want := range map[string]string{"a/b/test.txt": "test", "-": "stdin", ".txt": ".txt", "SmolLM2-135M": "SmolLM2-135M", "x.tar.gz": "x.tar"} {
		if got := NameOf(path); got != want {
			t.Errorf("NameOf(%q) = %q, want %q", path, got, want)
		}
	}
	for name, want := range map[string]string{"4 bits": "4-bits", "a/../b": "a-..-b", "--": "", "über": "ber"} {
		if got := FileName(name); got != want {
			t.Errorf("FileName(%q) = %q, want %q", name, got, want)
		}
	}
}
