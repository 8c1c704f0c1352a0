// Package curve describes what a model loses at each of several sizes: the
// divergence, top-1 agreement and perplexity of files against their bytes, with
// what it took to make them, as text, Markdown, JSON and charts.
package curve

import (
	"math"

	"thimble/internal/kernel"
	"thimble/verify/metric"
)

// A Report is a measured curve.
type Report struct {
	Model       string       `json:"model"`
	Weights     int64        `json:"weights"`
	Calibration *Calibration `json:"calibration,omitempty"`
	Texts       []Text       `json:"texts"`
	Cores       int          `json:"cores"`
	Survey      *Cost        `json:"survey,omitempty"` // once for all rows with a budget
	Rows        []Row        `json:"rows"`
	Peers       []Peer       `json:"peers,omitempty"`
	Notes       []string     `json:"notes,omitempty"`
	Folder      string       `json:"folder,omitempty"`
	Output      []string     `json:"output,omitempty"` // files in it
}

// A Value is a figure, NaN where there is none, which is null in JSON.
type Value = metric.Value

// A Calibration is what rows were calibrated on.
type Calibration struct {
	SHA256  []string `json:"sha256"`
	Tokens  int      `json:"tokens"`
	Context int      `json:"context"`
	Seed    uint64   `json:"seed,omitempty"`
}

// A Text is one that rows are measured on.
type Text struct {
	Name    string `json:"name"`
	Chunks  int    `json:"chunks"`
	Context int    `json:"context"`
	Tokens  int    `json:"tokens"` // scored
	PPL     Value  `json:"ppl"`    // of the original model
}

// A Cost is what a piece of work took.
type Cost struct {
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak_resident_bytes,omitempty"` // of the process during the work, mapped files included; 0 where not known
}

// A Row is one file.
type Row struct {
	Name          string  `json:"name"`
	Bytes         int64   `json:"bytes"` // of the file
	SHA256        string  `json:"sha256"`
	BitsPerWeight float64 `json:"bits_per_weight"`
	PredictedKL   float64 `json:"predicted_kl,omitempty"`
	File          string  `json:"file,omitempty"`   // that existed before; such a row has no recipe and no cost
	Recipe        string  `json:"recipe,omitempty"` // canonical YAML
	Cost
	Measured []Point `json:"measured"` // by text

	// Series joins rows that differ only in their budget: those with the same
	// Series are one line of the chart. Rows without one stand alone.
	Series string `json:"-"`
}

// A Point is a file measured on a text.
type Point struct {
	KLMean   Value `json:"kl_mean"` // nats per token
	KLMeanSE Value `json:"kl_mean_se"`
	KLP99    Value `json:"kl_p99"`
	Top1     Value `json:"top1_agreement"`
	PPL      Value `json:"ppl"`
	PPLRatio Value `json:"ppl_ratio"` // to the original model's
}

// PointOf returns the figures of a verification that a curve shows.
func PointOf(m *metric.Summary) Point {
	return Point{m.KLMean, m.KLMeanSE, m.KLP99, m.Top1Agreement, m.PPL, m.PPL / m.PPLReference}
}

// lines returns the rows of each series that has several, in the order of their
// first, and the rows that stand alone. Files that existed before are in neither.
func (r *Report) lines() (joined [][]*Row, alone []*Row) {
	place := map[string]int{}
	var groups [][]*Row
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.File != "" {
			continue
		}
		at, known := place[row.Series]
		if !known || row.Series == "" {
			at = len(groups)
			place[row.Series] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], row)
	}
	for _, g := range groups {
		if len(g) > 1 {
			joined = append(joined, g)
		} else {
			alone = append(alone, g...)
		}
	}
	return joined, alone
}

// At returns the divergence at a size, on a text, of the best of the curve's lines.
// Between its points a line is straight on a logarithmic scale; it continues for a
// fiftieth of the size beyond them. ok is false where there is no line.
func (r *Report) At(text int, bytes float64) (best float64, ok bool) {
	joined, _ := r.lines()
	for _, line := range joined {
		for _, a := range line {
			for _, b := range line {
				if a.Bytes >= b.Bytes || between(line, a.Bytes, b.Bytes) {
					continue
				}
				if y, covers := interpolate(line, a, b, text, bytes); covers && (!ok || y < best) {
					best, ok = y, true
				}
			}
		}
	}
	return best, ok
}

// interpolate is the divergence at a size by two neighbours of a line, the smaller
// one first. ok is false if they do not cover the size.
func interpolate(line []*Row, a, b *Row, text int, bytes float64) (y float64, ok bool) {
	const beyond = 0.02
	lo, hi := float64(a.Bytes), float64(b.Bytes)
	if !between(line, 0, a.Bytes) { // a is the smallest of the line
		lo *= 1 - beyond
	}
	if !between(line, b.Bytes, math.MaxInt64) {
		hi *= 1 + beyond
	}
	inside := bytes >= float64(a.Bytes) && bytes <= float64(b.Bytes)
	if !inside && !(bytes > lo && bytes < hi) {
		return 0, false
	}
	y0, y1 := float64(a.Measured[text].KLMean), float64(b.Measured[text].KLMean)
	if !(y0 > 0 && y1 > 0) {
		return 0, false
	}
	share := (bytes - float64(a.Bytes)) / float64(b.Bytes-a.Bytes)
	return kernel.Exp64(kernel.Log64(y0) + float64(share*(kernel.Log64(y1)-kernel.Log64(y0)))), true
}

// between reports whether a row of line is larger than lo and smaller than hi.
func between(line []*Row, lo, hi int64) bool {
	for _, r := range line {
		if r.Bytes > lo && r.Bytes < hi {
			return true
		}
	}
	return false
}
