package verify

import (
	"bytes"
	_ "embed" // the page's template and style sheet
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"

	"thimble/internal/chart"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

// pageTemplate writes a page. It escapes what it is given for where it stands.
var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"shown": shown, "legible": legible, "figure": figure, "share": share, "brief": brief, "where": where,
	"moved": (*Figure).change, "between": (*Figure).spread, "state": (*Figure).state,
	"allowed": func(f *Figure) string { return f.part(float64(f.Allowed), false) },
	"lines":   func(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") },
}).Parse(pageText))

// A page is what the template is given. Pictures are from package chart, which
// escapes its texts.
type page struct {
	Report    *Report
	Style     template.CSS
	Outcome   string
	Name      string
	Reasons   []pageReason
	Figures   []pageFigure
	Gates     []pageGate
	Stages    template.HTML
	Layers    template.HTML
	Histogram template.HTML
	Prompts   template.HTML
	Prefixes  template.HTML
	Metrics   []pageMetric
	Kinds     []pageKind
	Facts     []pageFact
}

type (
	pageReason struct{ Outcome, Why string }
	pageFigure struct{ Name, Value, Beside string }
	pageGate   struct {
		Name, Value, Interval, Outcome string
		Picture                        template.HTML
	}
	pageMetric struct{ Name, Value, Interval, Means string }
	pageKind   struct {
		storedKind
		Bits, Share string
	}
	pageFact struct {
		Name  string
		Lines []string
	}
)

// HTML is the report as one page that needs nothing else: no script, no font, no
// network. The same report gives the same bytes.
func (r *Report) HTML() ([]byte, error) {
	p := page{Report: r, Style: template.CSS(pageStyle + chart.Style()), Outcome: r.outcomeOfAll(), Name: baseName(r.Model.Path)}
	for i := range r.Gates {
		c := &r.Gates[i]
		p.Reasons = append(p.Reasons, pageReason{r.outcome(c), r.reason(c)})
		p.Gates = append(p.Gates, pageGate{
			Name: c.title(), Value: figure(c.Value),
			Interval: r.intervalText(c.Metric), Outcome: r.outcome(c), Picture: r.gatePicture(c, i),
		})
	}
	if r.held() && r.worse() == nil {
		p.Reasons = append(p.Reasons, pageReason{passed, "nothing is worse than in the baseline"})
	}
	for _, f := range r.worse() {
		p.Reasons = append(p.Reasons, pageReason{missed, f.sentence()})
	}
	for i := range metrics {
		k := &metrics[i]
		if v, ok := k.listed(&r.Metrics); ok {
			p.Metrics = append(p.Metrics, pageMetric{k.name, figure(v), r.intervalText(k.name), k.means})
		}
	}
	p.Figures, p.Facts = r.figures(), r.facts()
	if r.KLHistogram != nil {
		p.Histogram = r.KLHistogram.picture()
	}
	p.Prompts, p.Stages, p.Layers, p.Prefixes = r.promptsPicture(), r.stagePicture(), r.layerPicture(), r.Continuations.picture()
	total := int64(0)
	for _, t := range r.Tensors {
		total += t.Bytes
	}
	for _, k := range r.kinds() {
		p.Kinds = append(p.Kinds, pageKind{k, fmt.Sprintf("%.2f", 8*float64(k.Bytes)/float64(max(1, k.Weights))), fmt.Sprintf("%.1f %%", 100*float64(k.Bytes)/float64(max(1, total)))})
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, &p)
	return b.Bytes(), err
}

// Parts says whether the models part at l.
func (p *page) Parts(l Layer) bool { return p.Report.parts(&l) }

// Error writes an error of a Divergence.
func (p *page) Error(v float64) string { return brief(Value(v)) }

// figures are the few that say the most.
func (r *Report) figures() (all []pageFigure) {
	add := func(name, value, beside string) { all = append(all, pageFigure{name, value, beside}) }
	between := func(metric string) string {
		if r.intervalOf(metric) == nil {
			return ""
		}
		return r.intervalText(metric)
	}
	if r.Model.Bytes > 0 {
		add("Size", fmt.Sprintf("%.1f MB", float64(r.Model.Bytes)/1e6), fmt.Sprintf("%d bytes", r.Model.Bytes))
	}
	if r.Model.BitsPerWeight > 0 {
		add("Bits per weight", fmt.Sprintf("%.2f", r.Model.BitsPerWeight), "")
	}
	m := &r.Metrics
	if m.KLMean.Known() {
		add("Mean KL, nats per token", figure(m.KLMean), between("kl_mean"))
		add("99 % of positions below", figure(m.KLP99), "nats")
	}
	if m.Top1Agreement.Known() {
		add("Same first choice", fmt.Sprintf("%.1f %%", 100*float64(m.Top1Agreement)), between("top1_agreement"))
	}
	if m.PPL.Known() {
		beside := ""
		if m.PPLRatio.Known() {
			beside = fmt.Sprintf("%s times the reference's", figure(m.PPLRatio))
		}
		add("Perplexity", figure(m.PPL), beside)
	}
	for _, name := range []string{"acc_norm", "exact_match", "api_exact", "prefix_mean"} {
		if k, err := metricNamed(name); err == nil && k.of(m).Known() {
			add(strings.ToUpper(k.means[:1])+k.means[1:], figure(k.of(m)), between(name))
		}
	}
	if m.Tokens > 0 {
		add("Positions scored", strconv.Itoa(m.Tokens), fmt.Sprintf("in %d prompts", len(r.Prompts)))
	}
	return all
}

// facts say what was compared with what, and where it is from.
func (r *Report) facts() (all []pageFact) {
	add := func(name string, lines ...string) {
		if len(lines) > 0 && lines[0] != "" {
			all = append(all, pageFact{name, lines})
		}
	}
	add("Model", r.Model.Path)
	add("SHA-256", r.Model.SHA256)
	add("Run in", r.Arithmetic.String())
	add("Against", r.Against)
	add("Verified by", r.Tool)
	add("Policy", r.Policy)
	if r.Speed != nil {
		add("Speed", r.Speed.String())
	}
	if p := r.Provenance; p != nil {
		add("Architecture", p.Architecture)
		add("Made by", p.Tool)
		add("Overrides", p.Overrides...)
	}
	return all
}

// gatePicture draws the i-th gate.
func (r *Report) gatePicture(c *Check, i int) template.HTML {
	s := chart.Span{
		Title: c.sentence(), Value: float64(c.Value), Low: float64(c.Value), High: float64(c.Value),
		Limit: c.Limit, AtLeast: c.Op == ">=",
	}
	if in := r.intervalOf(c.Metric); in != nil {
		s.Low, s.High = float64(in.Low), float64(in.High)
		s.Title += fmt.Sprintf(", 95 %% interval %s", r.intervalText(c.Metric))
	}
	least, most := min(s.Low, s.Value, s.Limit), max(s.High, s.Value, s.Limit)
	room := (most - least) / 5
	if room == 0 {
		room = max(math.Abs(most)/5, 1e-6)
	}
	s.From, s.To = least-room, most+room
	if least >= 0 && (s.From < 0 || !s.AtLeast && least < most/2) { // how much of what is allowed
		s.From = 0
	}
	if s.AtLeast && most <= 1 {
		s.To = 1
	}
	return template.HTML(s.SVG(fmt.Sprintf("gate%d", i)))
}

// picture draws h.
func (h *Histogram) picture() template.HTML {
	c := chart.ColumnChart{
		Title: "Divergence of positions", About: "How many positions have a divergence in each range, in nats.",
		XAxis: "KL, nats (each step about 1.5 times the one before)", YAxis: "positions", Log: true,
	}
	for _, e := range h.Edges {
		c.Edges = append(c.Edges, float64(e))
	}
	for i, n := range h.Counts {
		c.Columns = append(c.Columns, chart.Column{Value: float64(n), About: fmt.Sprintf("%s to %s: %d", figure(h.Edges[i]), figure(h.Edges[i+1]), n)})
	}
	return template.HTML(c.SVG("kl"))
}

// promptsPicture draws the prompts' divergences, where there is more than one.
func (r *Report) promptsPicture() template.HTML {
	if len(r.Prompts) < 2 || !r.Metrics.KLMean.Known() {
		return ""
	}
	c := chart.ColumnChart{
		Title: "Divergence of prompts", About: "Mean divergence of each prompt, in nats per token.",
		XAxis: "prompt", YAxis: "mean KL, nats per token", Edges: []float64{-0.5},
	}
	every := markEvery(len(r.Prompts))
	for i, p := range r.Prompts {
		if i%every == 0 {
			c.Marks = append(c.Marks, chart.Mark{At: i, Text: strconv.Itoa(i)})
		}
		c.Edges = append(c.Edges, float64(i)+0.5)
		c.Columns = append(c.Columns, chart.Column{Value: float64(p.KLMean), About: fmt.Sprintf("prompt %d: %s", i, figure(p.KLMean))})
	}
	return template.HTML(c.SVG("prompts"))
}
