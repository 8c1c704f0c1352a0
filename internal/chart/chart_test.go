package chart

import (
	"os"
	"testing"
)

func smol() *Chart {
	mb := func(label string, x, y float64) Point { return Point{label, label, x, y} }
	return &Chart{
		Title: "SmolLM2-135M on wikitext2-test", About: "Divergence against size.", XAxis: "file, MB", YAxis: "mean KL, nats per token",
		Series: []Series{
			{Name: "Thimble", Joined: true, Points: []Point{mb("0.026", 92, .026), mb("0.018", 98.4, .018), mb("0.010", 105.5, .0101), mb("0.0054", 112.1, .0054), mb("0.0007", 138.4, .0007)}},
			{Name: "Thimble, int4/g32 and int8/g32", Points: []Point{mb("0.068", 92, .068)}},
			{Name: "llama.cpp with imatrix", Theirs: true, Points: []Point{
				mb("Q4_0", 91.9, .209), mb("IQ4_XS", 90.9, .114), mb("IQ4_NL", 91.7, .112), mb("Q4_1", 98.4, .0752), mb("Q4_K_S", 102, .0637), mb("Q4_K_M", 105.5, .0465), mb("Q5_K_M", 112.1, .0210), mb("Q6_K", 138.4, .0079)}},
		},
	}
}

func TestDraw(t *testing.T) {
	os.WriteFile("/tmp/lab/curve-try.svg", smol().SVG(), 0o644)
}
