// Package curve reports the loss of a quantized model at several sizes: divergence,
// top-1 agreement and perplexity against file size, with the time and memory each
// file took to make, as text, Markdown, JSON and charts.
package curve

import (
	"cmp"
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
	Cores       int          `json:"cores"`            // 0 if the costs of rows are unknown
	Survey      *Cost        `json:"survey,omitempty"` // shared by all rows with a budget
	Rows        []Row        `json:"rows"`
	Peers       []Peer       `json:"peers,omitempty"`
	Notes       []string     `json:"notes,omitempty"`
	Folder      string       `json:"folder,omitempty"`
	Output      []string     `json:"output,omitempty"` // files in Folder

	Prefix string `json:"-"` // of the names of files, where a folder has several curves
}

// A Value is a figure; an unknown one is NaN, and null in JSON.
type Value = metric.Value

// A Calibration describes the tokens that rows were calibrated on.
type Calibration struct {
	Name    string   `json:"text,omitempty"` // name of a built-in text; files have none
	SHA256  []string `json:"sha256"`
	Tokens  int      `json:"tokens"`
	Context int      `json:"context"`
	Seed    uint64   `json:"seed,omitempty"`
}

// A Text is a text that rows are measured on.
type Text struct {
	Name    string `json:"name"`
	Chunks  int    `json:"chunks"`
	Context int    `json:"context"`
	Tokens  int    `json:"tokens"` // scored
	PPL     Value  `json:"ppl"`    // of the original model
}

// A Cost is the time and memory that a piece of work took.
type Cost struct {
	Seconds float64 `json:"seconds"`
	Peak    int64   `json:"peak_resident_bytes,omitempty"` // of the process meanwhile, mapped files included; 0 if unknown
}

// A Row is one file of the curve.
type Row struct {
	Name          string  `json:"name"`
	Bytes         int64   `json:"bytes"`                  // of the file that was measured
	ExportBytes   int64   `json:"export_bytes,omitempty"` // of the file that another program runs, exported from that one
	SHA256        string  `json:"sha256"`
	BitsPerWeight float64 `json:"bits_per_weight"`
	PredictedKL   float64 `json:"predicted_kl,omitempty"`
	File          string  `json:"file,omitempty"`   // an existing file; such a row has no recipe and no cost
	Recipe        string  `json:"recipe,omitempty"` // canonical YAML
	Cost
	Measured []Point `json:"measured"` // by text

	// Series is equal in rows that differ only in their budget; the chart draws them
	// as one line. A row without a Series stands alone.
	Series string `json:"-"`
}

// Size returns the size in bytes of the file that ships: the exported one, if there is
// one.
func (r *Row) Size() int64 { return cmp.Or(r.ExportBytes, r.Bytes) }

// A Point holds the measurements of one file on one text.
type Point struct {
	KLMean   Value `json:"kl_mean"` // nats per token
	KLMeanSE Value `json:"kl_mean_se"`
	KLP99    Value `json:"kl_p99"`
	Top1     Value `json:"top1_agreement"`
	PPL      Value `json:"ppl"`
	PPLRatio Value `json:"ppl_ratio"` // to the original model's perplexity
}

// NoPoint is the Point of a file that was not measured on a text.
var NoPoint = Point{metric.Unknown, metric.Unknown, metric.Unknown, metric.Unknown, metric.Unknown, metric.Unknown}

// PointOf returns the figures of m that a curve shows.
func PointOf(m *metric.Summary) Point {
	return Point{m.KLMean, m.KLMeanSE, m.KLP99, m.Top1Agreement, m.PPL, m.PPL / m.PPLReference}
}

// lines returns the rows of each series with several rows, ordered by their first
// rows, and the rows that stand alone. Existing files are in neither.
func (r *Report) lines() (joined [][]*Row, alone []*Row) {
	index := map[string]int{} // of a series in groups
	var groups [][]*Row
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.File != "" {
			continue
		}
		g, known := index[row.Series]
		if !known || row.Series == "" {
			g = len(groups)
			index[row.Series] = g
			groups = append(groups, nil)
		}
		groups[g] = append(groups[g], row)
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

// At returns the lowest divergence that a line of the curve has on a text at a size.
// Between points, the logarithm of the divergence is interpolated linearly; lines
// extend 2% beyond their first and last sizes. ok is false if no line covers the size.
func (r *Report) At(text int, bytes float64) (best float64, ok bool) {
	joined, _ := r.lines()
	for _, line := range joined {
		for _, a := range line {
			for _, b := range line {
				if a.Size() >= b.Size() || between(line, a.Size(), b.Size()) {
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

// interpolate returns the divergence at a size between two adjacent rows of a line,
// the smaller first. ok is false if they do not cover the size.
func interpolate(line []*Row, a, b *Row, text int, bytes float64) (y float64, ok bool) {
	const beyond = 0.02
	lo, hi := float64(a.Size()), float64(b.Size())
	if !between(line, 0, a.Size()) { // a is the smallest row of the line
		lo *= 1 - beyond
	}
	if !between(line, b.Size(), math.MaxInt64) {
		hi *= 1 + beyond
	}
	inside := bytes >= float64(a.Size()) && bytes <= float64(b.Size())
	if !inside && !(bytes > lo && bytes < hi) {
		return 0, false
	}
	y0, y1 := float64(a.Measured[text].KLMean), float64(b.Measured[text].KLMean)
	if !(y0 > 0 && y1 > 0) {
		return 0, false
	}
	t := (bytes - float64(a.Size())) / float64(b.Size()-a.Size())
	return kernel.Exp64(kernel.Log64(y0) + float64(t*(kernel.Log64(y1)-kernel.Log64(y0)))), true
}

// between reports whether the size of a row of line is strictly between lo and hi.
func between(line []*Row, lo, hi int64) bool {
	for _, r := range line {
		if r.Size() > lo && r.Size() < hi {
			return true
		}
	}
	return false
}
