package render

import (
	"fmt"
	"html/template"
	"math"
	"strconv"

	"thimble/internal/chart"
	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/tasks"
)

// drawn is p for both widths of a page.
func drawn(p chart.Picture, id string) template.HTML { return template.HTML(chart.Responsive(p, id)) }

// gatePicture draws the i-th gate.
func gatePicture(r *verify.Report, c *verify.Check, i int) template.HTML {
	s := chart.Span{
		Title: sentence(c), Value: float64(c.Value), Low: float64(c.Value), High: float64(c.Value),
		Limit: c.Limit, LimitText: c.Op + " " + metric.Value(c.Limit).Short(), AtLeast: c.Op == ">=",
	}
	if in := r.Interval(c.Metric); in != nil {
		s.Low, s.High = float64(in.Low), float64(in.High)
		s.Title += fmt.Sprintf(", 95 %% interval %s", intervalText(r, c.Metric))
	}
	least, most := min(s.Low, s.Value, s.Limit), max(s.High, s.Value, s.Limit)
	room := (most - least) / 5
	if room == 0 {
		room = max(math.Abs(most)/5, 1e-6)
	}
	s.From, s.To = least-room, most+room
	if least >= 0 && (s.From < 0 || !s.AtLeast && least < most/2) { // shows which share of the limit is used
		s.From = 0
	}
	if s.AtLeast && most <= 1 {
		s.To = 1
	}
	return template.HTML(s.SVG(fmt.Sprintf("gate%d", i)))
}

// histogramPicture draws h, which may be nil.
func histogramPicture(h *metric.Histogram) template.HTML {
	if h == nil {
		return ""
	}
	c := chart.ColumnChart{
		Title: "Divergence by position", About: "How many positions have a divergence in each range, in nats.",
		XAxis: "KL, nats", YAxis: "positions", Log: true,
	}
	for _, e := range h.Edges {
		c.Edges = append(c.Edges, float64(e))
	}
	for i, n := range h.Counts {
		c.Columns = append(c.Columns, chart.Datum{Value: float64(n), About: fmt.Sprintf("%s to %s: %d", h.Edges[i].Short(), h.Edges[i+1].Short(), n)})
	}
	return drawn(&c, "kl")
}

// promptsPicture draws the prompts' divergences, if there are several.
func promptsPicture(r *verify.Report) template.HTML {
	if len(r.Prompts) < 2 || !r.Metrics.KLMean.Known() {
		return ""
	}
	c := chart.ColumnChart{
		Title: "Divergence by prompt", About: "Mean divergence of each prompt, in nats per token.",
		XAxis: "prompt", YAxis: "mean KL, nats per token", Edges: []float64{-0.5},
	}
	every := markEvery(len(r.Prompts))
	for i, p := range r.Prompts {
		if i%every == 0 {
			c.Marks = append(c.Marks, chart.Mark{At: i, Text: strconv.Itoa(i)})
		}
		c.Edges = append(c.Edges, float64(i)+0.5)
		c.Columns = append(c.Columns, chart.Datum{Value: float64(p.KLMean), About: fmt.Sprintf("prompt %d: %s", i, p.KLMean.Short())})
	}
	return drawn(&c, "prompts")
}

// stagePicture draws what each stage costs.
func stagePicture(stages []verify.Stage) template.HTML {
	b := chart.BarChart{Title: "What each stage costs", About: "Divergence that each stage adds, in nats per token."}
	most := metric.Value(0)
	for _, s := range stages {
		most = max(most, s.Added)
	}
	for i := range stages {
		s := &stages[i]
		if s.Stage == verify.StageSource {
			continue
		}
		b.Bars = append(b.Bars, chart.Bar{
			Name: printable(stageTitle(s)), Text: s.Added.Short(), Value: float64(s.Added),
			Highlight: s.Stage == verify.StageConverted && s.Added == most && most > 0,
		})
	}
	if len(b.Bars) == 0 {
		return ""
	}
	return drawn(&b, "stages")
}

// A pageStep sums up the layers of a step, or of an operation outside of steps.
type pageStep struct {
	name    string        // the step's number, or its operation
	closest *parity.Layer // the operation that comes closest to its limit, or exceeds it most
	stream  metric.Value  // the error after the step
	first   bool          // it has the first divergence
}

// about names s in a tooltip.
func (s *pageStep) about() string {
	if s.closest.Block == parity.NoBlock {
		return s.name
	}
	return fmt.Sprintf("step %s, block %d", s.name, s.closest.Block)
}

// pageSteps sums the layers up by step.
func pageSteps(r *verify.Report) (steps []pageStep) {
	for i := range r.Layers {
		l := &r.Layers[i]
		if l.Block == parity.NoBlock || i == 0 || r.Layers[i-1].Step != l.Step {
			name := strconv.Itoa(l.Step)
			if l.Block == parity.NoBlock {
				name = printable(l.Operation)
			}
			steps = append(steps, pageStep{name: name, closest: l, stream: metric.Unknown})
		}
		s := &steps[len(steps)-1]
		if l.Excess > s.closest.Excess {
			s.closest = l
		}
		if l.Block == parity.NoBlock || l.Operation == model.FFNResidual {
			s.stream = l.Added + l.Inherited
		}
		s.first = s.first || diverges(l, r.FirstDivergence)
	}
	return steps
}

// stepChart returns a chart over steps without its values.
func stepChart(r *verify.Report, steps []pageStep, title, about, unit string) *chart.LineChart {
	l := &chart.LineChart{Title: title, About: about, XAxis: "step", YAxis: unit}
	every := markEvery(len(steps))
	for i, s := range steps {
		if _, err := strconv.Atoi(s.name); err == nil && s.closest.Step%every == 0 {
			l.Marks = append(l.Marks, chart.Mark{At: i, Text: s.name})
		}
		if s.first {
			l.Highlight = &chart.Mark{At: i, Text: "first divergence: " + printable(r.FirstDivergence.Operation)}
		}
	}
	return l
}

// layerPicture draws by step how close operations come to their limit. The line is
// where the gate on beyond_rounding is, or 1.
func layerPicture(r *verify.Report) template.HTML {
	steps := pageSteps(r)
	if len(steps) < 2 {
		return ""
	}
	limit := chart.Limit{Value: 1, Text: "limit"}
	for i := range r.Gates {
		if c := &r.Gates[i]; c.Metric == "beyond_rounding" && c.Op == "<=" {
			limit = chart.Limit{Value: c.Limit, Text: "gate: " + limitText(c)}
		}
	}
	most := &steps[0]
	for i := range steps {
		if steps[i].closest.Excess > most.closest.Excess {
			most = &steps[i]
		}
	}
	about := fmt.Sprintf("By step, on a logarithmic axis: the largest error that an operation adds, as a multiple of its limit. The largest is %s, in %s. The line is at %s (%s).",
		timesText(most.closest.Excess), most.about(), metric.Value(limit.Value).Short(), limit.Text)
	l := stepChart(r, steps, "Added error by step", about, "added error, as a multiple of its limit")
	l.Limit = &limit
	for _, s := range steps {
		l.Values = append(l.Values, chart.Datum{Value: float64(s.closest.Excess), About: fmt.Sprintf("%s, %s: %s of its limit", s.about(), printable(s.closest.Operation), timesText(s.closest.Excess))})
	}
	return drawn(l, "layers")
}

// streamPicture draws the error that the model carries after each step.
func streamPicture(r *verify.Report) template.HTML {
	steps := pageSteps(r)
	if len(steps) < 2 {
		return ""
	}
	about := fmt.Sprintf("By step, on a logarithmic axis: the error after the step, relative to the reference. It is %s at the end.", errorText(steps[len(steps)-1].stream))
	l := stepChart(r, steps, "Error after each step", about, "error after the step, relative to the reference")
	for _, s := range steps {
		l.Values = append(l.Values, chart.Datum{Value: float64(s.stream), About: fmt.Sprintf("after %s: %s", s.about(), errorText(s.stream))})
	}
	return drawn(l, "stream")
}

// prefixPicture draws after how many tokens continuations diverge. c may be nil.
func prefixPicture(c *tasks.Continuations) template.HTML {
	if c == nil || len(c.Prefixes) < 2 {
		return ""
	}
	const bins = 16
	width := max(1, (c.Tokens+bins-1)/bins)
	n := (c.Tokens + width - 1) / width
	counts := make([]int, n+1) // the last counts those that never diverge
	for _, p := range c.Prefixes {
		if p == c.Tokens {
			counts[n]++
		} else {
			counts[p/width]++
		}
	}
	picture := &chart.ColumnChart{
		Title: "Where texts diverge", About: "How many continuations diverge after how many tokens.",
		XAxis: "tokens before they diverge", YAxis: "prompts", Edges: []float64{0},
	}
	for i, n := range counts {
		from, to := i*width, min((i+1)*width, c.Tokens)
		about, mark := fmt.Sprintf("%d to %d tokens: %d", from, to-1, n), strconv.Itoa(from)
		if i == len(counts)-1 {
			about, mark = fmt.Sprintf("the same throughout: %d", n), "all"
		}
		if i%2 == 0 || i == len(counts)-1 {
			picture.Marks = append(picture.Marks, chart.Mark{At: i, Text: mark})
		}
		picture.Edges = append(picture.Edges, float64((i+1)*width))
		picture.Columns = append(picture.Columns, chart.Datum{Value: float64(n), About: about})
	}
	return drawn(picture, "prefixes")
}

// markEvery returns m such that labels at every m-th of n positions are at most 12.
func markEvery(n int) int {
	every := 1
	for n/every > 12 {
		every *= 2
	}
	return every
}
