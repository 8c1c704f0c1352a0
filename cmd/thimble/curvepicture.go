package main

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"thimble/internal/chart"
	"thimble/internal/kernel"
	"thimble/verify/metric"
)

// lines are the rows that differ in budget alone, in the order of their first,
// and those that stand alone, of the files that were made.
func (v *curve) lines() (joined [][]*curveRow, alone []*curveRow) {
	place := map[string]int{}
	var groups [][]*curveRow
	for i := range v.Rows {
		r := &v.Rows[i]
		if r.File != "" {
			continue
		}
		at, known := place[r.kind]
		if !known || r.kind == "" {
			at = len(groups)
			place[r.kind] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], r)
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

// at is the divergence of the best line of rows on a text at a size: between its
// points the logarithm is linear, and for a fiftieth of the size beyond them. ok
// is false where no line goes.
func (v *curve) at(text int, bytes float64) (best float64, ok bool) {
	const beyond = 0.02
	joined, _ := v.lines()
	for _, line := range joined {
		for i := range line {
			for j := range line {
				a, b := line[i], line[j]
				if a.Bytes >= b.Bytes || between(line, a.Bytes, b.Bytes) {
					continue
				}
				lo, hi := float64(a.Bytes), float64(b.Bytes)
				first, last := !between(line, 0, a.Bytes), !between(line, b.Bytes, math.MaxInt64)
				if bytes < lo && !(first && bytes > lo*(1-beyond)) || bytes > hi && !(last && bytes < hi*(1+beyond)) {
					continue
				}
				y0, y1 := float64(a.Measured[text].KLMean), float64(b.Measured[text].KLMean)
				if !(y0 > 0 && y1 > 0) {
					continue
				}
				share := (bytes - lo) / (hi - lo)
				y := kernel.Exp64(kernel.Log64(y0) + float64(share*(kernel.Log64(y1)-kernel.Log64(y0))))
				if !ok || y < best {
					best, ok = y, true
				}
			}
		}
	}
	return best, ok
}

// between reports whether a row of line is larger than lo and smaller than hi.
func between(line []*curveRow, lo, hi int64) bool {
	for _, r := range line {
		if r.Bytes > lo && r.Bytes < hi {
			return true
		}
	}
	return false
}

// picture is the chart of one text.
func (v *curve) picture(text int) *chart.Chart {
	p := &chart.Chart{
		Title: fmt.Sprintf("%s on %s", v.name(), v.Texts[text].Name),
		About: "Mean divergence from the original, in nats per token, against the size of the file.",
		XAxis: "size of the file, MB", YAxis: "mean KL, nats per token",
	}
	joined, alone := v.lines()
	point := func(r *curveRow, label string) chart.Point {
		x, y := float64(r.Bytes), r.Measured[text].KLMean
		return chart.Point{Label: label, About: fmt.Sprintf("%s, %s MB, KL %s", r.Name, megabytes(x), kl(y)), X: x / 1e6, Y: float64(y)}
	}
	for _, line := range joined {
		s := chart.Series{Name: "Thimble", Joined: true}
		if len(joined) > 1 {
			s.Name = fmt.Sprintf("Thimble, from %s", line[0].Name)
		}
		for _, r := range line {
			s.Points = append(s.Points, point(r, kl(r.Measured[text].KLMean)))
		}
		p.Series = append(p.Series, s)
	}
	if len(alone) > 0 {
		s := chart.Series{Name: "Thimble"}
		if len(joined) > 0 {
			s.Name = "Thimble, other recipes"
		}
		for _, r := range alone {
			s.Points = append(s.Points, point(r, r.Name))
		}
		p.Series = append(p.Series, s)
	}
	if theirs := v.theirs(text); len(theirs) > 0 {
		common := commonWords(theirs)
		s := chart.Series{Name: cmp.Or(strings.TrimSpace(common), "others"), Theirs: true}
		for _, q := range theirs {
			s.Points = append(s.Points, chart.Point{Label: strings.TrimPrefix(q.Name, common),
				About: fmt.Sprintf("%s, %s MB, KL %s", q.Name, megabytes(q.Bytes), kl(metric.Value(q.KL))), X: q.Bytes / 1e6, Y: q.KL})
		}
		p.Series = append(p.Series, s)
	}
	return p
}

// theirs are the peers on a text, and the files that were given.
func (v *curve) theirs(text int) []peer {
	all := v.peersOn(text)
	for _, r := range v.Rows {
		if r.File != "" {
			all = append(all, peer{Name: r.Name, Bytes: float64(r.Bytes), KL: float64(r.Measured[text].KLMean)})
		}
	}
	return all
}

// commonWords are the words that all names begin with, less the last of each,
// with the space behind them.
func commonWords(peers []peer) string {
	common := peers[0].Name[:strings.LastIndex(peers[0].Name, " ")+1]
	for _, p := range peers {
		for !strings.HasPrefix(p.Name, common) {
			common = common[:strings.LastIndex(strings.TrimSuffix(common, " "), " ")+1]
		}
	}
	return common
}
