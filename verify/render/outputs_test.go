package render

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"thimble/verify"
	"thimble/verify/metric"
)

func TestJUnit(t *testing.T) {
	text, err := JUnit(hostileReport())
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
	if c := s.Cases[1]; c.Skipped == nil || !strings.HasPrefix(c.Skipped.Message, "UNDECIDED: ") || !strings.Contains(c.Skipped.Message, "undecided, it may be 0.01 to 0.03: use more tokens") || c.Failure != nil {
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
		gates           []verify.Gate
		strict          bool
		failed, skipped int
	}{
		{nil, false, 0, 1},
		{[]verify.Gate{{Metric: "kl_mean", Op: "<=", Limit: 0.025}}, false, 0, 1},
		{[]verify.Gate{{Metric: "kl_mean", Op: "<=", Limit: 0.025}}, true, 1, 0},
		{[]verify.Gate{{Metric: "kl_mean", Op: "<=", Limit: 0.5}}, true, 0, 0},
	} {
		r := hostileReport()
		r.Baseline = nil
		if err := r.Judge(c.gates, c.strict); err != nil {
			t.Fatal(err)
		}
		text, err := JUnit(r)
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
	text := Markdown(hostileReport())
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

// A path can be read in a log, and what Markdown would obey is escaped.
func TestMarkdownEscapes(t *testing.T) {
	for text, want := range map[string]string{
		"/tmp/smol_int4-v2.thimble":  "/tmp/smol_int4-v2.thimble",
		"_x_ *y* www.a.b http://c":   "&#95;x&#95; &#42;y&#42; www&#46;a.b http&#58;//c",
		"</code><b>&lt;|`[a](b)#1@c": "&#60;/code&#62;&#60;b&#62;&#38;lt;&#124;&#96;&#91;a&#93;(b)&#35;1&#64;c",
	} {
		if got := code(text); got != "<code>"+want+"</code>" {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for text, want := range map[string]string{"- a-b": "&#45; a-b", "12. a": "12&#46; a", "+": "&#43;", "norm_eps is 1e-05": "norm_eps is 1e-05"} {
		if got := inert(text); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A line for each gate that is not passed, and no more commands than that.
func TestAnnotations(t *testing.T) {
	r := hostileReport()
	r.Baseline = nil
	lines := strings.Split(Annotations(r), "\n")
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
	if got, want := Annotations(r), "::error title=100%25.thimble%3A kl_mean fail::kl_mean 0.02, the gate is <= 0.001; rounding\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Every form has the word for a gate that the reference leaves undecided, and says
// between which values the metric lies and what decides.
func TestUndecidedByReference(t *testing.T) {
	for _, strict := range []bool{false, true} {
		r := hostileReport()
		r.Baseline, r.Bounds = nil, []metric.Bound{{Metric: "kl_mean", Low: 0.02, High: 3.624}}
		if err := r.Judge([]verify.Gate{{Metric: "kl_mean", Op: "<=", Limit: 1}}, strict); err != nil {
			t.Fatal(err)
		}
		page, err := HTML(r)
		if err != nil {
			t.Fatal(err)
		}
		junit, err := JUnit(r)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		why := "it may be 0.02 to 3.624: use --against, or a reference that keeps more logits"
		for form, c := range map[string]struct {
			text          string
			loose, strict string
		}{
			"text":        {Text(r), "UNDECIDED  kl_mean 0.02\nUNDECIDED  kl_mean <= 1, it may be 0.02 to 3.624:\n           use --against,", "FAIL  (strict) kl_mean 0.02 meets <= 1, but may be 0.02 to 3.624:\n      use --against, or a reference that keeps more logits, or leave"},
			"table":       {Text(r), "<= 1 UNDECIDED", "<= 1 UNDECIDED"},
			"markdown":    {Markdown(r), "## UNDECIDED: ", "## FAIL: "},
			"row":         {Markdown(r), "| UNDECIDED |", "| FAIL |"},
			"HTML":        {string(page), `<h2 id="verdict">UNDECIDED</h2>`, `<h2 id="verdict">FAIL</h2>`},
			"JUnit":       {string(junit), `<skipped message="UNDECIDED: kl_mean 0.02`, `type="UNDECIDED"`},
			"JSON":        {string(encoded), `"pass":true,"outcome":"UNDECIDED","undecided":true,"undecided_by_reference":true`, `"pass":true,"outcome":"FAIL","undecided":true,"undecided_by_reference":true`},
			"annotations": {Annotations(r), "::warning title=", "::error title="},
		} {
			want := c.loose
			if strict {
				want = c.strict
			}
			if !strings.Contains(c.text, want) {
				t.Errorf("%s, strict %v: no %q in\n%s", form, strict, want, c.text)
			}
			if form != "text" && form != "table" && form != "row" && form != "JSON" && !strings.Contains(html.UnescapeString(c.text), why) {
				t.Errorf("%s, strict %v: no %q", form, strict, why)
			}
		}
	}
}
