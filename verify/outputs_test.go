package verify

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// hostile is what a token, a path or a recipe may have in it.
const hostile = "<script>alert(1)</script>]]>--><!-- | `` \" ' & \n::error::gotcha\r##[error] *x* _y_ [z](https://e.example) @user $1$ :tada: \u202egnp\u2066 \u2028 \x00\x1b[31m \xff\xfe \ufffe \\"

// hostileReport has hostile everywhere, and everything that a report may have.
func hostileReport() *Report {
	choice := Choice{ID: 7, Text: hostile, PReference: 0.75, PModel: unknown}
	token := Token{Prompt: 1, Position: 2, KL: 3, Before: []int{4, 5}, Text: hostile, Next: 6, NextText: hostile, Reference: choice, Model: Choice{ID: 8, Text: hostile, PReference: 0.1, PModel: 0.5}}
	text := hostile
	bare := Token{Before: []int{1}, Next: -1, Reference: Choice{ID: 9}, Model: Choice{ID: 9}}
	r := &Report{
		Schema: Schema, Tool: hostile, Model: ModelInfo{Path: "folder/" + hostile, SHA256: hostile, Bytes: 5e6, BitsPerWeight: 4.5}, Arithmetic: Describe(Arithmetic{}), Against: hostile,
		Metrics:     Metrics{Tokens: 100, KLMean: 0.02, KLMeanSE: 0.001, Top1Agreement: 0.9, PPL: 12, PPLRatio: unknown, CosineMin: unknown},
		Intervals:   []Interval{{"kl_mean", 0.01, 0.03}, {"top1_agreement", 0.85, 0.95}},
		Prompts:     []PromptReport{{Tokens: 50, KLMean: 0.01, KLMaxAt: -1}, {Tokens: 50, KLMean: 0.03, KLMax: unknown, MaxAbs: 1}},
		KLHistogram: &Histogram{Edges: []Value{0, 1e-9, 1.5e-9}, Counts: []int{3, 97}},
		Flips:       &Flips{Count: 11, Worst: []Token{token, bare}}, WorstTokens: []Token{token, bare}, Notes: []string{hostile},
		Tasks: &Tasks{File: hostile, SHA256: hostile, Scores: []TaskScore{{"acc", 4, 0.5, 0.75, 1, 0}}, Items: []TaskReport{{1, hostile, kindText, Answer{Text: &text}, &Answer{Text: &text}}},
			Examples: []TaskExample{{1, hostile, "acc", true, hostile, hostile, hostile, hostile}, {1, "", "acc", false, "", "", "", ""}}},
		Continuations: &Continuations{Tokens: 40, Prefixes: []int{3, 40, 39}, Partings: []Parting{{Prompt: 1, Prefix: 3, Before: []int{1, 2}, Text: hostile, Reference: choice, Model: choice, ReferenceText: hostile, ModelText: hostile}, {Before: []int{1}}}},
		Diagnosis:     hostile, FirstDivergence: &Divergence{Operation: hostile, Tensor: hostile, Cause: hostile, Added: 1},
		Layers:     []Layer{{Step: -1, Block: -1, Operation: "embed", Added: 0}, {Operation: hostile, Tensor: hostile, Added: 0.5, Expected: unknown}, {Operation: "ffn_residual", Added: 0.1, Inherited: 0.2}},
		Stages:     []Stage{{Stage: stageSource, Top1: 1}, {Stage: stageKV, Arithmetic: ArithmeticInfo{hostile, hostile, hostile}, KLMean: 0.1, Added: 0.1, Top1: unknown}},
		Tensors:    []StoredTensor{{hostile, "linear", "int4/g32/sym", 10, 20, 300}, {"b", "linear", "int4/g32/sym", 1, 2, 3}},
		Policy:     hostile,
		Baseline:   &Baseline{Path: hostile, Figures: []Figure{{"bytes", 1, 2, unknown, unknown, 0.1, worse}, {"kl_mean", 0.1, 0.2, -0.05, 0.25, 0.01, noise}}},
		Speed:      &Speed{Path: hostile, SHA256: hostile, Arithmetic: ArithmeticInfo{hostile, hostile, hostile}},
		Provenance: &Provenance{Architecture: hostile, Tool: hostile, Recipe: hostile + "\n" + hostile, Overrides: []string{hostile}, Sources: []Source{{hostile, 5, hostile}}},
	}
	if err := r.judge([]Gate{{"kl_mean", "<=", 0.001}, {"kl_mean", "<=", 0.025}, {"top1_agreement", ">=", 0.5}}, false); err != nil {
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

var pageElements = strings.Fields("html head meta title style body a header p h1 h2 main section ul li strong dl div dt dd small table caption thead tbody tr th td span svg path circle text desc figure figcaption details summary ol code bdi mark i pre")

// A page is only what its template has, whatever is in a report, and can be read
// without a mouse and without seeing it.
func TestPage(t *testing.T) {
	page, err := hostileReport().HTML()
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
	ids, headings, hidden := map[string]bool{}, 0, shown(hostile)
	all := parsePage(t, page)
	for _, e := range all {
		if !slices.Contains(pageElements, e.name) {
			t.Errorf("there is a <%s>", e.name)
		}
		for name, value := range e.attr {
			if strings.HasPrefix(name, "on") || name == "src" || name == "href" && value != "#main" || strings.Contains(value, "gotcha") && e.name != "path" {
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
		for _, id := range strings.Fields(e.attr["aria-labelledby"]) {
			if !ids[id] {
				t.Errorf("<%s> is labelled by %q, which is not there", e.name, id)
			}
		}
	}
	if text := all[0].text; strings.Count(text, hidden) < 15 {
		t.Errorf("%q is there %d times", hidden, strings.Count(text, hidden))
	}
	if headings < 9 {
		t.Errorf("there are %d headings", headings)
	}
	for _, bad := range []string{"url(", "@import", "<script", "ZgotmplZ" /* of html/template */, "NaN"} {
		if bytes.Contains(page, []byte(bad)) {
			t.Errorf("the page has %q", bad)
		}
	}
	// The verdict comes first.
	body := string(page[bytes.Index(page, []byte("<main")):])
	if verdict := strings.Index(body, ">FAIL</h2>"); verdict < 0 || verdict > strings.Index(body, ">Figures</h2>") {
		t.Errorf("the verdict is at %d", verdict)
	}
}

// A report without a reference, a gate, a tokenizer or a plan has no empty parts.
func TestPageOfLittle(t *testing.T) {
	_, subject, prompts := noisy(3, 64, 40)
	r, err := Run(t.Context(), nil, subject, prompts, Options{Model: ModelInfo{Path: "smol.thimble"}})
	if err != nil {
		t.Fatal(err)
	}
	page, err := r.HTML()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range parsePage(t, page) {
		if e.name == "h2" {
			found = append(found, e.text)
		}
	}
	if d := cmp.Diff([]string{"MEASURED", "Figures", "Prompts", "All metrics", "Provenance"}, found); d != "" {
		t.Error(d)
	}
}

// The page of 16 prompts of 512 tokens, every position scored, of a model with as
// many tensors as one of 7 billion weights has is far below 1 MB.
func TestPageSize(t *testing.T) {
	ref, subject, prompts := noisy(3, 64, slices.Repeat([]int{512}, 16)...)
	r, err := Run(t.Context(), ref, subject, prompts, Options{
		Gates: gatePair(0.05, 0.9), Model: ModelInfo{Path: "smol.thimble", Bytes: 1, BitsPerWeight: 1},
		Text: func(ids []int) string { return strings.Repeat("<&\x01é", 4*len(ids)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 * 9 {
		r.Tensors = append(r.Tensors, StoredTensor{fmt.Sprintf("blocks.%d.attn_norm", i), "linear", "int4/g128/asym", 4096, 11008, 23000000})
	}
	for i := range 32 * 13 {
		r.Layers = append(r.Layers, Layer{i / 13, i / 13, "attention_residual", "blocks.31.attn_norm", 0.0123456789012345678, 0.123456789012345678, 0.123456789012345678})
	}
	page, err := r.HTML()
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

func TestJUnit(t *testing.T) {
	text, err := hostileReport().JUnit()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suite    []struct {
			Name       string          `xml:"name,attr"`
			Tests      int             `xml:"tests,attr"`
			Properties []junitProperty `xml:"properties>property"`
			Cases      []junitCase     `xml:"testcase"`
			Out        string          `xml:"system-out"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 5 || got.Failures != 2 || got.Skipped != 1 || len(got.Suite) != 1 || got.Suite[0].Tests != 5 {
		t.Fatalf("%+v", got)
	}
	s := got.Suite[0]
	var names []string
	for _, c := range s.Cases {
		names = append(names, c.Name)
	}
	if d := cmp.Diff([]string{"kl_mean <= 0.001", "kl_mean <= 0.025", "top1_agreement >= 0.5", "bytes", "kl_mean"}, names); d != "" {
		t.Error(d)
	}
	if c := s.Cases[0]; c.Failure == nil || c.Failure.Message != "kl_mean 0.02, the gate is <= 0.001" || c.Skipped != nil {
		t.Errorf("%+v", c)
	}
	if c := s.Cases[1]; c.Skipped == nil || !strings.Contains(c.Skipped.Message, "undecided, it may be 0.01 to 0.03: use more tokens") || c.Failure != nil {
		t.Errorf("%+v", c)
	}
	if c := s.Cases[2]; c.Failure != nil || c.Skipped != nil {
		t.Errorf("%+v", c)
	}
	if i := slices.IndexFunc(s.Properties, func(p junitProperty) bool { return p.Name == "kl_mean" }); i < 0 || s.Properties[i].Value != "0.02" {
		t.Errorf("%v", s.Properties)
	}
	if !strings.Contains(s.Out, "FAIL  kl_mean 0.02") {
		t.Errorf("%q", s.Out)
	}
}

// No gate is no failure, and strictly judged an undecided one is.
func TestJUnitOutcomes(t *testing.T) {
	for _, c := range []struct {
		gates           []Gate
		strict          bool
		failed, skipped int
	}{
		{nil, false, 0, 1},
		{[]Gate{{"kl_mean", "<=", 0.025}}, false, 0, 1},
		{[]Gate{{"kl_mean", "<=", 0.025}}, true, 1, 0},
		{[]Gate{{"kl_mean", "<=", 0.5}}, true, 0, 0},
	} {
		r := hostileReport()
		r.Baseline = nil
		r.Gates = nil
		if err := r.judge(c.gates, c.strict); err != nil {
			t.Fatal(err)
		}
		text, err := r.JUnit()
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(` tests="1" failures="%d" errors="0" skipped="%d"`, c.failed, c.skipped)
		if bytes.Count(text, []byte(want)) != 2 {
			t.Errorf("%v, strict %v: want %s in %s", c.gates, c.strict, want, text)
		}
	}
}

// Nothing in a report is Markdown's: every table has the same cells in each row, and
// the only elements are ours.
func TestMarkdown(t *testing.T) {
	text := hostileReport().Markdown()
	for _, tag := range regexp.MustCompile(`<[^>]*>?`).FindAllString(text, -1) {
		if !slices.Contains([]string{"<code>", "</code>", "<details>", "</details>", "<summary>", "</summary>"}, tag) {
			t.Errorf("there is a %s", tag)
		}
	}
	for _, bad := range []string{"`", "@", "$", "[", "\\", "https:", "\x1b", "\u202e", "::"} {
		if strings.Contains(text, bad) {
			t.Errorf("there is a %q", bad)
		}
	}
	cells := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		if n := strings.Count(line, "|"); cells != 0 && n != cells {
			t.Errorf("%d bars after %d: %s", n, cells, line)
		} else {
			cells = n
		}
	}
	if !strings.HasPrefix(text, "## FAIL: <code>") || !strings.Contains(text, "\n- **FAIL** kl_mean 0.02, the gate is &#60;= 0.001\n- **UNDECIDED** ") {
		t.Error(text)
	}
}

// A line for each gate that is not passed, and no more commands than that.
func TestAnnotations(t *testing.T) {
	r := hostileReport()
	r.Baseline = nil
	lines := strings.Split(r.Annotations(), "\n")
	if len(lines) != 3 || lines[2] != "" {
		t.Fatalf("%q", lines)
	}
	for i, begin := range []string{"::error title=", "::warning title="} {
		title, text, _ := strings.Cut(strings.TrimPrefix(lines[i], begin), "::")
		if !strings.HasPrefix(lines[i], begin) || strings.ContainsAny(title, ":,") || strings.ContainsFunc(lines[i], func(r rune) bool { return !unicode.IsGraphic(r) }) {
			t.Errorf("%q", lines[i])
		}
		if !strings.HasPrefix(text, "kl_mean 0.02, the gate is <= 0.0") || !strings.Contains(text, "against ") {
			t.Errorf("%q", text)
		}
	}
	r.Model.Path, r.Against, r.Gates, r.Diagnosis = "100%.thimble", "", r.Gates[:1], "rounding"
	if got, want := r.Annotations(), "::error title=100%25.thimble%3A kl_mean fail::kl_mean 0.02, the gate is <= 0.001; rounding\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHistogram(t *testing.T) {
	scores := func(kls ...float64) (all []score) {
		for _, kl := range kls {
			all = append(all, score{kl: kl})
		}
		return all
	}
	for _, c := range []struct {
		scores []score
		want   *Histogram
	}{
		{scores(0.1), &Histogram{[]Value{0.1, 0.15}, []int{1}}}, // an edge belongs to what is above
		{scores(0.0999, 0.2, 0.1), &Histogram{[]Value{0.068, 0.1, 0.15, 0.22}, []int{1, 1, 1}}},
		{scores(0, 1e-10, 1e-9), &Histogram{[]Value{0, 1e-9, 1.5e-9}, []int{2, 1}}},
		{scores(1e300), &Histogram{[]Value{4700, 6800}, []int{1}}},
		{scores(float64(unknown)), nil},
		{nil, nil},
	} {
		if d := cmp.Diff(c.want, histogram(c.scores)); d != "" {
			t.Errorf("%v: %s", c.scores, d)
		}
	}
}

// docs/REPORT.md has a row for every field, and rows for no other.
func TestSchemaIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/REPORT.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllSubmatch(doc, -1) {
		listed = append(listed, string(m[1]))
	}
	var want []string
	var walk func(prefix string, t reflect.Type)
	walk = func(prefix string, t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			if t.Kind() == reflect.Slice {
				prefix += "[]"
			}
			t = t.Elem()
		}
		if prefix != "" {
			want = append(want, prefix)
			prefix += "."
		}
		if t.Kind() != reflect.Struct {
			return
		}
		if key := t.Name(); key == "Token" || key == "Choice" { // told once
			if slices.Contains(want, key) {
				return
			}
			want = append(want, key)
			prefix = key + "."
		}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Anonymous:
				for j := range f.Type.NumField() {
					walk(prefix+f.Type.Field(j).Tag.Get("json"), f.Type.Field(j).Type)
				}
			case name == "":
				panic(t.Name() + "." + f.Name + " has no name in JSON")
			default:
				walk(prefix+name, f.Type)
			}
		}
	}
	walk("", reflect.TypeFor[Report]())
	slices.Sort(want)
	slices.Sort(listed)
	if d := cmp.Diff(want, listed); d != "" {
		t.Error(d)
	}
	if !strings.Contains(string(doc), fmt.Sprintf("`schema` is %d", Schema)) {
		t.Errorf("the version is not said to be %d", Schema)
	}
}
