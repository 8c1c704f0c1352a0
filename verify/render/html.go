package render

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's template, style sheet and script
	"encoding/base64"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"sync"

	"thimble/internal/chart"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/tasks"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

// pageTemplate writes a page. html/template escapes each value for its context. It is parsed at the
// first page, since most runs write none.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"printable": printable, "segments": escapeUnprintable, "short": metric.Value.Short, "probability": probability, "error": errorText,
		"step": stepText, "change": changeText, "spread": spreadText, "allowed": allowedText, "outcome": figureOutcome, "state": fileState,
		"times": timesText, "first": firstTokens, "rest": restTokens,
		"number": func(v float64) metric.Value { return metric.Value(v) },
		"lines":  func(text string) []string { return strings.Split(strings.TrimSpace(text), "\n") },
	}).Parse(pageText))
})

// A page is what the template reads. Pictures are from package chart, which
// escapes its texts.
type page struct {
	Report    *verify.Report
	Style     template.CSS
	Script    template.JS
	Policy    string // for the browser: run this script only, load nothing
	Sections  []pageSection
	Body      template.HTML
	Outcome   string
	Name      string
	Reasons   []pageReason
	Figures   []pageFigure
	Gates     []pageGate
	Stages    template.HTML
	Layers    template.HTML
	Stream    template.HTML
	Histogram template.HTML
	Prompts   template.HTML
	Prefixes  template.HTML
	Metrics   []pageMetric
	Kinds     []pageKind
	Facts     []pageFact
}

type (
	pageSection struct{ ID, Title string } // a heading, for the list of contents
	pageReason  struct{ Outcome, Why string }
	pageFigure  struct{ Name, Value, Note string }
	pageGate    struct {
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

// HTML is a report as one page that needs nothing else: no font, no network, and no
// script except one that filters tables, without which the page has all that it
// says. The same report gives the same bytes.
func HTML(r *verify.Report) ([]byte, error) {
	p := page{
		Report: r, Style: template.CSS(pageStyle + chart.Style()), Outcome: r.Outcome(), Name: baseName(r.Model.Path),
		Script: template.JS(pageScript), Policy: scriptPolicy(pageScript),
		Reasons: pageReasons(r), Figures: pageFigures(r), Facts: pageFacts(r), Kinds: pageKinds(r),
		Histogram: histogramPicture(r.KLHistogram), Prompts: promptsPicture(r), Stages: stagePicture(r.Stages),
		Layers: layerPicture(r), Stream: streamPicture(r), Prefixes: prefixPicture(r.Continuations),
	}
	for i := range r.Gates {
		c := &r.Gates[i]
		p.Gates = append(p.Gates, pageGate{
			Name: limitText(c), Value: c.Value.Short(),
			Interval: intervalText(r, c.Metric), Outcome: c.Outcome, Picture: gatePicture(r, c, i),
		})
	}
	for _, e := range listed(r) {
		p.Metrics = append(p.Metrics, pageMetric{e.Name, e.Of(&r.Metrics).Short(), intervalText(r, e.Name), e.Means})
	}
	var b bytes.Buffer
	if err := pageTemplate().ExecuteTemplate(&b, "body", &p); err != nil { // first: its headings are the contents
		return nil, err
	}
	p.Body = template.HTML(b.String())
	b.Reset()
	err := pageTemplate().Execute(&b, &p)
	return b.Bytes(), err
}

// scriptPolicy is a policy for the contents of a page that runs only script.
func scriptPolicy(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Heading is the heading of a section, which the list of contents has too.
func (p *page) Heading(id, title string) template.HTML {
	p.Sections = append(p.Sections, pageSection{id, title})
	return template.HTML(`<h2 id="` + id + `">` + template.HTMLEscapeString(title) + `</h2>`)
}

// openTokens is how many tokens of a list a page shows without being asked.
const openTokens = 3

func firstTokens(all []verify.Token) []verify.Token { return all[:min(len(all), openTokens)] }

func restTokens(all []verify.Token) []verify.Token { return all[min(len(all), openTokens):] }

// timesText is a multiple of a limit.
func timesText(v metric.Value) string {
	switch {
	case !v.Known():
		return "-"
	case v < 99.95:
		return strconv.FormatFloat(float64(v), 'f', 2, 64)
	}
	return strconv.FormatFloat(float64(v), 'g', 2, 64)
}

// Diverges reports whether l is the first divergence.
func (p *page) Diverges(l parity.Layer) bool { return diverges(&l, p.Report.FirstDivergence) }

// Against reports whether a reference did the tasks too.
func (p *page) Against() bool { return compared(p.Report.Tasks) }

// Title is the title of an example.
func (p *page) Title(e tasks.Example) string { return exampleTitle(&e, p.Against()) }

// Interval is the interval of a metric of tasks, or of its change.
func (p *page) Interval(name string, change bool) string {
	if change {
		name += tasks.ChangeSuffix
	}
	return intervalText(p.Report, name)
}

// Change is how much larger a share of tasks is than the reference's.
func (p *page) Change(s tasks.Score) metric.Value { return s.Model - s.Reference }

// Continued is a sentence about the continuations.
func (p *page) Continued() string { return continued(p.Report) }

// Means says what a metric of tasks is.
func (p *page) Means(name string) string { return meaning(name) }

// Changes are the figures since the baseline.
func (p *page) Changes() (all []*verify.Figure) {
	for i := range p.Report.Baseline.Figures {
		all = append(all, &p.Report.Baseline.Figures[i])
	}
	return all
}

// pageReasons explains the outcome of the report.
func pageReasons(r *verify.Report) (all []pageReason) {
	for i := range r.Gates {
		all = append(all, pageReason{r.Gates[i].Outcome, reason(r, &r.Gates[i])})
	}
	if r.Baseline.Compared() && r.Baseline.Worse() == nil {
		all = append(all, pageReason{verify.Passed, "nothing is worse than in the baseline"})
	}
	for _, f := range r.Baseline.Worse() {
		all = append(all, pageReason{verify.Missed, figureSentence(f)})
	}
	return all
}

// A headline is a metric of tasks in the summary.
type headline struct{ metric, name string }

// headlines are the most telling metrics of tasks.
var headlines = []headline{
	{"acc_norm", "Choices right"}, {"exact_match", "Texts as expected"}, {"api_exact", "Calls right"}, {"prefix_mean", "Same greedy tokens"},
}

// pageFigures are the most telling numbers.
func pageFigures(r *verify.Report) (all []pageFigure) {
	add := func(name, value, note string) { all = append(all, pageFigure{name, value, note}) }
	m := &r.Metrics
	if m.KLMean.Known() {
		add("Mean KL", m.KLMean.Short(), figureNote("nats per token", r.Interval("kl_mean"), 1))
		add("KL p99", m.KLP99.Short(), "nats; 99 % are below")
	}
	if m.Top1Agreement.Known() {
		add("Same first choice", percent(m.Top1Agreement), figureNote("", r.Interval("top1_agreement"), 100))
	}
	if m.PPL.Known() {
		note := ""
		if m.PPLRatio.Known() {
			note = fmt.Sprintf("%s times the reference's", m.PPLRatio.Short())
		}
		add("Perplexity", m.PPL.Short(), note)
	}
	for _, h := range headlines {
		e := metric.Find(verify.MetricTable, h.metric)
		switch v := e.Of(m); {
		case !v.Known():
		case h.metric == "prefix_mean":
			add(h.name, v.Short(), figureNote("mean", r.Interval(h.metric), 1))
		default:
			add(h.name, percent(v), figureNote("", r.Interval(h.metric), 100))
		}
	}
	if r.Model.Bytes > 0 {
		add("Size", fmt.Sprintf("%.1f MB", float64(r.Model.Bytes)/1e6), fmt.Sprintf("%d bytes", r.Model.Bytes))
	}
	if r.Model.BitsPerWeight > 0 {
		add("Bits per weight", fmt.Sprintf("%.2f", r.Model.BitsPerWeight), "with scales")
	}
	if m.Tokens > 0 {
		add("Positions scored", strconv.Itoa(m.Tokens), fmt.Sprintf("in %d prompts", len(r.Prompts)))
	}
	return all
}

// percent writes a share.
func percent(share metric.Value) string { return fmt.Sprintf("%.1f %%", 100*float64(share)) }

// figureNote writes a unit and an interval, which may be nil, whose ends it shows as
// percentages if scale is 100.
func figureNote(unit string, in *metric.Interval, scale float64) string {
	switch {
	case in == nil:
		return unit
	case scale == 100:
		return fmt.Sprintf("95 %%: %.1f to %s", 100*float64(in.Low), percent(in.High))
	}
	return fmt.Sprintf("%s, 95 %%: %s to %s", unit, in.Low.Short(), in.High.Short())
}

// pageKinds sums up how the model is stored.
func pageKinds(r *verify.Report) (all []pageKind) {
	total := int64(0)
	for _, t := range r.Tensors {
		total += t.Bytes
	}
	for _, k := range storedKinds(r.Tensors) {
		bits := fmt.Sprintf("%.2f", 8*float64(k.Bytes)/float64(max(1, k.Weights)))
		all = append(all, pageKind{k, bits, fmt.Sprintf("%.1f %%", 100*float64(k.Bytes)/float64(max(1, total)))})
	}
	return all
}

// pageFacts say what was compared with what, and where the model is from.
func pageFacts(r *verify.Report) (all []pageFact) {
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
		add("Speed", speedText(r.Speed))
	}
	if p := r.Provenance; p != nil {
		add("Architecture", p.Architecture)
		add("Made by", p.Tool)
		add("Overrides", p.Overrides...)
	}
	return all
}
