package curve

import (
	"cmp"
	"fmt"
	"strings"

	"thimble/internal/chart"
	"thimble/internal/label"
)

// SVG returns a chart of the divergence on one text against file size, including the
// peers.
func (r *Report) SVG(text int) []byte { return r.picture(text).SVG() }

func (r *Report) picture(text int) *chart.Chart {
	p := &chart.Chart{
		Title: fmt.Sprintf("%s on %s", label.OfModel(r.Model), r.Texts[text].Name),
		About: "Mean divergence from the original, in nats per token, against the size of the file.",
		XAxis: "size of the file, MB", YAxis: "mean KL, nats per token",
	}
	joined, alone := r.lines()
	for _, line := range joined {
		s := chart.Series{Name: "Thimble", Joined: true}
		if len(joined) > 1 {
			s.Name = fmt.Sprintf("Thimble, from %s", line[0].Name)
		}
		for _, row := range line {
			s.Points = append(s.Points, row.point(text, kl(row.Measured[text].KLMean)))
		}
		p.Series = append(p.Series, s)
	}
	if len(alone) > 0 {
		s := chart.Series{Name: "Thimble"}
		if len(joined) > 0 {
			s.Name = "Thimble, other recipes"
		}
		for _, row := range alone {
			s.Points = append(s.Points, row.point(text, row.Name))
		}
		p.Series = append(p.Series, s)
	}
	if others := r.others(text); len(others) > 0 {
		common := commonWords(others)
		s := chart.Series{Name: cmp.Or(strings.TrimSpace(common), "others"), Peer: true}
		for _, q := range others {
			s.Points = append(s.Points, chart.Point{Label: strings.TrimPrefix(q.Name, common),
				About: fmt.Sprintf("%s, %s MB, KL %s", q.Name, megabytes(q.Bytes), kl(Value(q.KL))), X: q.Bytes / 1e6, Y: q.KL})
		}
		p.Series = append(p.Series, s)
	}
	return p
}

func (row *Row) point(text int, label string) chart.Point {
	x, y := float64(row.Size()), row.Measured[text].KLMean
	return chart.Point{Label: label, About: fmt.Sprintf("%s, %s MB, KL %s", row.Name, megabytes(x), kl(y)), X: x / 1e6, Y: float64(y)}
}
