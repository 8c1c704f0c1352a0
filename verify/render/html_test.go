package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/device"
	"thimble/internal/model"
	"thimble/verify"
	"thimble/verify/metric"
	"thimble/verify/parity"
	"thimble/verify/reference"
	"thimble/verify/reference/referencetest"
	"thimble/verify/tasks"
)

// hostile is what a token, a path or a recipe may hold.
const hostile = "<script>alert(1)</script>]]>--><!-- | `` \" ' & \n::error::gotcha\r##[error] *x* _y_ [z](https://e.example) @user $1$ :tada: \u202egnp\u2066 \u2028 \x00\x1b[31m \xff\xfe \ufffe \\"

// hostileReport has hostile everywhere, and everything that a report may have.
func hostileReport() *verify.Report {
	choice := metric.Choice{ID: 7, Text: hostile, PReference: 0.75, PModel: metric.Unknown}
	token := verify.Token{Prompt: 1, Position: 2, KL: 3, Before: []int{4, 5}, Text: hostile, Next: 6, NextText: hostile, Reference: choice, Model: metric.Choice{ID: 8, Text: hostile, PReference: 0.1, PModel: 0.5}}
	text := hostile
	bare := verify.Token{Before: []int{1}, Next: -1, Reference: metric.Choice{ID: 9}, Model: metric.Choice{ID: 9}}
	r := &verify.Report{
		Schema: verify.Schema, Tool: hostile, Model: verify.ModelInfo{Path: "folder/" + hostile, SHA256: hostile, Bytes: 5e6, BitsPerWeight: 4.5}, Arithmetic: verify.Describe(verify.Arithmetic{}), Against: hostile,
		Metrics:     verify.Metrics{Summary: metric.Summary{Tokens: 100, KLMean: 0.02, KLMeanSE: 0.001, Top1Agreement: 0.9, PPL: 12, PPLRatio: metric.Unknown, CosineMin: metric.Unknown}},
		Intervals:   []metric.Interval{{Metric: "kl_mean", Low: 0.01, High: 0.03}, {Metric: "top1_agreement", Low: 0.85, High: 0.95}},
		Prompts:     []verify.PromptReport{{Tokens: 50, KLMean: 0.01, KLMaxAt: -1}, {Tokens: 50, KLMean: 0.03, KLMax: metric.Unknown, MaxAbs: 1}},
		KLHistogram: &metric.Histogram{Edges: []metric.Value{0, 1e-9, 1.5e-9}, Counts: []int{3, 97}},
		Flips:       &verify.Flips{Count: 11, Worst: []verify.Token{token, bare}}, WorstTokens: []verify.Token{token, bare}, Notes: []string{hostile},
		Tasks: &tasks.Report{File: hostile, SHA256: hostile, Scores: []tasks.Score{{Metric: "acc", Items: 4, Model: 0.5, Reference: 0.75, Lost: 1}}, Items: []tasks.Item{{Line: 1, ID: hostile, Kind: "text", Model: tasks.Answer{Text: &text}, Reference: &tasks.Answer{Text: &text}}},
			Examples: []tasks.Example{{Line: 1, ID: hostile, Metric: "acc", Lost: true, Prompt: hostile, Expected: hostile, Reference: hostile, Model: hostile}, {Line: 1, Metric: "acc"}}},
		Continuations: &tasks.Continuations{Tokens: 40, Prefixes: []int{3, 40, 39}, Divergences: []tasks.Divergence{{Prompt: 1, Prefix: 3, Before: []int{1, 2}, Text: hostile, Reference: choice, Model: choice, ReferenceText: hostile, ModelText: hostile}, {Before: []int{1}}}},
		Diagnosis:     hostile, FirstDivergence: &parity.Divergence{Operation: hostile, Tensor: hostile, Cause: hostile, Added: 1},
		Layers:  []parity.Layer{{Step: -1, Block: -1, Operation: "embed", Added: 0}, {Operation: hostile, Tensor: hostile, Added: 0.5, Expected: metric.Unknown}, {Operation: "ffn_residual", Added: 0.1, Inherited: 0.2}},
		Stages:  []verify.Stage{{Stage: verify.StageSource, Top1: 1}, {Stage: verify.StageKV, Arithmetic: verify.ArithmeticInfo{Activations: hostile, Keys: hostile, Values: hostile}, KLMean: 0.1, Added: 0.1, Top1: metric.Unknown}},
		Tensors: []model.StoredTensor{{Name: hostile, Role: "linear", Scheme: "int4/g32/sym", Rows: 10, Cols: 20, Bytes: 300}, {Name: "b", Role: "linear", Scheme: "int4/g32/sym", Rows: 1, Cols: 2, Bytes: 3}},
		Cost:    &device.Cost{File: 5e6, Resident: 30e6, Cache: 1e6, Read: 4e6, CacheRead: 1e6, Operations: 1e7, Joules: 5e-4, ConversationJoules: 0.6},
		Policy:  hostile,
		Baseline: &verify.Baseline{Path: hostile, Figures: []verify.Figure{
			{Name: "bytes", Before: 1, Now: 2, Low: metric.Unknown, High: metric.Unknown, Allowed: 0.1, Outcome: verify.Worse},
			{Name: "kl_mean", Before: 0.1, Now: 0.2, Low: -0.05, High: 0.25, Allowed: 0.01, Outcome: verify.Noise},
		}},
		Speed:      &verify.Speed{Path: hostile, SHA256: hostile, Arithmetic: verify.ArithmeticInfo{Activations: hostile, Keys: hostile, Values: hostile}},
		Provenance: &verify.Provenance{Architecture: hostile, Tool: hostile, Recipe: hostile + "\n" + hostile, Overrides: []string{hostile}, Sources: []verify.Source{{Name: hostile, Bytes: 5, SHA256: hostile}}},
	}
	if err := r.Judge([]verify.Gate{{Metric: "kl_mean", Op: "<=", Limit: 0.001}, {Metric: "kl_mean", Op: "<=", Limit: 0.025}, {Metric: "top1_agreement", Op: ">=", Limit: 0.5}}, false); err != nil {
		panic(err)
	}
	return r
}

// An element of a page, with its attributes and what is written in it.
type element struct {
	name string
	attr map[string]string
	text string
}

// parsePage reads HTML as strictly as a reader of XML can.
func parsePage(t *testing.T, page []byte) (all []*element) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var open []*element
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			e := &element{name: x.Name.Local, attr: map[string]string{}}
			for _, a := range x.Attr {
				e.attr[a.Name.Local] = a.Value
			}
			all, open = append(all, e), append(open, e)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			for _, e := range open {
				e.text += string(x)
			}
		case xml.Comment:
			t.Errorf("a comment: %s", x)
		}
	}
}

var pageElements = strings.Fields("html head meta title style body a header nav p h1 h2 main section ul li strong dl div dt dd small table caption thead tbody tr th td span svg path rect line circle text desc figure figcaption details summary ol code bdi mark i pre script")

// A page is only what its template has, whatever is in a report, and can be read
// without a mouse and without seeing it.
func TestPage(t *testing.T) {
	page, err := HTML(hostileReport())
	if err != nil {
		t.Fatal(err)
	}
	if !utf8.Valid(page) {
		t.Error("the page is not UTF-8")
	}
	for _, r := range string(page) {
		if r != '\n' && !unicode.IsGraphic(r) {
			t.Errorf("the page has a %U", r)
		}
	}
	ids, headings, hidden := map[string]bool{}, 0, printable(hostile)
	all := parsePage(t, page)
	for _, e := range all {
		if !slices.Contains(pageElements, e.name) {
			t.Errorf("there is a <%s>", e.name)
		}
		for name, value := range e.attr {
			if strings.HasPrefix(name, "on") || name == "src" || name == "href" && !strings.HasPrefix(value, "#") || strings.Contains(value, "gotcha") && e.name != "path" {
				t.Errorf("<%s> has %s=%q", e.name, name, value)
			}
		}
		if id := e.attr["id"]; id != "" {
			if ids[id] {
				t.Errorf("there are two of id %q", id)
			}
			ids[id] = true
		}
		if e.name == "th" && e.attr["scope"] == "" {
			t.Errorf("a heading of a table without scope: %s", e.text)
		}
		if e.name == "h1" || e.name == "h2" {
			headings++
		}
		if e.attr["class"] == "scroll" && (e.attr["tabindex"] != "0" || e.attr["aria-label"] == "" || e.attr["role"] != "region") {
			t.Errorf("a box that scrolls cannot be reached by keys: %v", e.attr)
		}
	}
	for _, e := range all {
		for _, id := range append(strings.Fields(e.attr["aria-labelledby"]), strings.Split(e.attr["href"], "#")[1:]...) {
			if !ids[id] {
				t.Errorf("<%s> refers to %q, which is not there", e.name, id)
			}
		}
	}
	if text := all[0].text; strings.Count(text, hidden) < 15 {
		t.Errorf("%q is there %d times", hidden, strings.Count(text, hidden))
	}
	if headings < 9 {
		t.Errorf("there are %d headings", headings)
	}
	for _, bad := range []string{"url(", "@import", "fetch(", "innerHTML", "ZgotmplZ" /* of html/template */, "NaN"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %q", bad)
		}
	}
	// The verdict comes first.
	body := string(page[bytes.Index(page, []byte("<main")):])
	if verdict := strings.Index(body, ">FAIL</h2>"); verdict < 0 || verdict > strings.Index(body, ">Summary</h2>") {
		t.Errorf("the verdict is at %d", verdict)
	}
}

// The contents list every section after the verdict, in order.
func TestPageContents(t *testing.T) {
	page, err := HTML(hostileReport())
	if err != nil {
		t.Fatal(err)
	}
	all := parsePage(t, page)
	var sections, contents []string
	for _, e := range all {
		switch {
		case e.name == "section" && !strings.Contains(e.attr["class"], "verdict"):
			sections = append(sections, "#"+e.attr["aria-labelledby"])
		case e.name == "a" && e.attr["class"] != "skip":
			contents = append(contents, e.attr["href"])
		}
	}
	if d := cmp.Diff(sections, contents); d != "" || len(sections) < 12 {
		t.Errorf("sections and contents differ: %s", d)
	}
}

// The only script is the one whose digest the policy has.
func TestPageScript(t *testing.T) {
	page, err := HTML(hostileReport())
	if err != nil {
		t.Fatal(err)
	}
	all := parsePage(t, page)
	scripts, policy := 0, ""
	for _, e := range all {
		switch {
		case e.attr["http-equiv"] == "Content-Security-Policy":
			policy = e.attr["content"]
		case e.name == "script":
			scripts++
		}
	}
	if scripts != 1 || bytes.Count(page, []byte("<script")) != 1 || !bytes.Contains(page, []byte("<script>"+pageScript+"</script>")) {
		t.Errorf("the page has %d scripts", scripts)
	}
	sum := sha256.Sum256([]byte(pageScript))
	if want := "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; policy != want {
		t.Errorf("the policy is %s, want %s", policy, want)
	}
}

// A report without a reference, a gate, a tokenizer or a plan has no empty parts.
func TestPageOfLittle(t *testing.T) {
	_, subject, prompts := referencetest.Noisy(3, 64, 40)
	r, err := verify.Run(t.Context(), nil, subject, prompts, verify.Options{Model: verify.ModelInfo{Path: "smol.thimble"}})
	if err != nil {
		t.Fatal(err)
	}
	page, err := HTML(r)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range parsePage(t, page) {
		if e.name == "h2" {
			found = append(found, e.text)
		}
	}
	if d := cmp.Diff([]string{"MEASURED", "Contents", "Summary", "Divergence by prompt", "All metrics", "Provenance"}, found); d != "" {
		t.Error(d)
	}
}

// The chart of layers draws the limit, and for each step the operation that comes
// closest to it, even if another adds more.
func TestLayerLimit(t *testing.T) {
	r := &verify.Report{Metrics: verify.Metrics{Summary: metric.Summarize(nil)}, Layers: []parity.Layer{
		{Step: 0, Block: 0, Operation: "attn_norm", Added: 0.001, Excess: 1000}, {Step: 0, Block: 0, Operation: "q", Added: 0.3, Expected: 0.2, Excess: 0.6},
		{Step: 1, Block: 1, Operation: "k", Added: 0.2, Expected: 0.2, Excess: 0.4}, {Step: 1, Block: 1, Operation: model.FFNResidual, Inherited: 0.3},
	}}
	picture := string(layerPicture(r))
	for _, want := range []string{"<title>step 0, block 0, attn_norm: 1e+03 of its limit</title>", "<title>step 1, block 1, k: 0.40 of its limit</title>", ">limit</text>", `class="refused"`} {
		if strings.Count(picture, want) != 2 { // wide and narrow
			t.Errorf("%s has %s %d times", picture, want, strings.Count(picture, want))
		}
	}
	r.Gates = []verify.Check{{Gate: verify.Gate{Metric: "beyond_rounding", Op: "<=", Limit: 2}}}
	if picture := string(layerPicture(r)); !strings.Contains(picture, ">gate: beyond_rounding &lt;= 2</text>") {
		t.Error(picture)
	}
	if stream := string(streamPicture(r)); !strings.Contains(stream, "<title>after step 1, block 1: 0.300</title>") || strings.Contains(stream, `class="limit"`) {
		t.Error(stream)
	}
}

// The page of 16 prompts of 512 tokens, every position scored, of a model with as
// many tensors as one of 7 billion weights has is far below 1 MB.
func TestPageSize(t *testing.T) {
	ref, subject, prompts := referencetest.Noisy(3, 64, slices.Repeat([]int{512}, 16)...)
	r, err := verify.Run(t.Context(), reference.FromScorer(ref), subject, prompts, verify.Options{
		Gates: gatesOf(t, "kl_mean<=0.05", "top1_agreement>=0.9"), Model: verify.ModelInfo{Path: "smol.thimble", Bytes: 1, BitsPerWeight: 1},
		Text: func(ids []int) string { return strings.Repeat("<&\x01é", 4*len(ids)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 * 9 {
		r.Tensors = append(r.Tensors, model.StoredTensor{Name: fmt.Sprintf("blocks.%d.attn_norm", i), Role: "linear", Scheme: "int4/g128/asym", Rows: 4096, Cols: 11008, Bytes: 23000000})
	}
	for i := range 32 * 13 {
		r.Layers = append(r.Layers, parity.Layer{Step: i / 13, Block: i / 13, Operation: "attention_residual", Tensor: "blocks.31.attn_norm", Added: 0.0123456789012345678, Inherited: 0.123456789012345678, Expected: 0.123456789012345678})
	}
	page, err := HTML(r)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the page has %d bytes, the JSON %d", len(page), len(text))
	if len(page) > 300_000 || len(text) > 300_000 {
		t.Errorf("the page has %d bytes, the JSON %d", len(page), len(text))
	}
}

// contrast is the ratio of WCAG 2.2 of two colours as CSS writes them.
func contrast(t *testing.T, a, b string) float64 {
	light := func(colour string) float64 {
		hex := strings.TrimPrefix(colour, "#")
		if len(hex) == 3 {
			hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			sum += weight * linear(float64(n)/255)
		}
		return sum
	}
	x, y := light(a), light(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// linear is a colour's share of light.
func linear(c float64) float64 {
	if c <= 0.04045 {
		return c / 12.92
	}
	return math.Pow((c+0.055)/1.055, 2.4)
}

// All text has 4.5 times the contrast, in both schemes.
func TestPageContrast(t *testing.T) {
	roots := regexp.MustCompile(`:root\{([^}]*)\}`).FindAllStringSubmatch(pageStyle, -1)
	if len(roots) != 2 {
		t.Fatalf("%d schemes", len(roots))
	}
	for scheme, root := range roots {
		colours := map[string]string{}
		for _, pair := range strings.Split(root[1], ";") {
			name, value, _ := strings.Cut(pair, ":")
			colours[strings.TrimPrefix(name, "--")] = value
		}
		for _, pair := range [][2]string{
			{"ink", "paper"}, {"faint", "paper"}, {"link", "paper"}, {"ink", "soft"}, {"faint", "soft"}, {"good", "good-soft"}, {"bad", "bad-soft"}, {"open", "open-soft"},
			{"ink", "good-soft"}, {"ink", "bad-soft"}, {"ink", "open-soft"}, {"ink", "mark"},
		} {
			if c := contrast(t, colours[pair[0]], colours[pair[1]]); c < 4.5 {
				t.Errorf("scheme %d: %s on %s has a contrast of %.2f", scheme, pair[0], pair[1], c)
			}
		}
	}
}
