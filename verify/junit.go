package verify

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The elements of JUnit's XML that its readers agree on. Attributes and texts may
// have anything, which encoding/xml escapes; CDATA only what XML can have.
type (
	junitSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		junitCounts
		Suite junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		junitCounts
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
		Out        junitText       `xml:"system-out"`
	}
	junitCounts struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     int    `xml:"time,attr"` // 0: the report is the same whenever it is made
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    int           `xml:"time,attr"`
		Failure *junitFailure `xml:"failure"`
		Skipped *junitSkipped `xml:"skipped"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
	junitText struct {
		Text string `xml:",cdata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// JUnit is the report as JUnit's XML: a test case for each gate, which fails
// where the gate was missed and is skipped where it is undecided, the metrics as
// properties, and the report for people as the suite's output.
func (r *Report) JUnit() ([]byte, error) {
	s := junitSuite{Out: junitText{"\n" + lawful(r.String())}}
	s.Name = "thimble verify " + shown(baseName(r.Model.Path))
	add := func(name, value string) { s.Properties = append(s.Properties, junitProperty{name, value}) }
	add("model", shown(r.Model.Path))
	add("sha256", r.Model.SHA256)
	add("bytes", strconv.FormatInt(r.Model.Bytes, 10))
	add("bits_per_weight", strconv.FormatFloat(r.Model.BitsPerWeight, 'g', -1, 64))
	add("arithmetic", r.Arithmetic.String())
	if r.Against != "" {
		add("against", shown(r.Against))
	}
	for i := range everyMetric {
		if v := everyMetric[i].of(&r.Metrics); v.Known() {
			add(everyMetric[i].name, strconv.FormatFloat(float64(v), 'g', -1, 64))
		}
	}
	for i := range r.Gates {
		c := &r.Gates[i]
		test := junitCase{Class: "thimble.verify", Name: fmt.Sprintf("%s %s %s", c.Metric, c.Op, strconv.FormatFloat(c.Limit, 'g', -1, 64))}
		switch why := r.reason(c); r.outcome(c) {
		case missed:
			test.Failure = &junitFailure{why, "gate", why}
			if r.Diagnosis != "" {
				test.Failure.Text += "; " + shown(r.Diagnosis)
			}
			s.Failures++
		case undecided:
			test.Skipped = &junitSkipped{why}
			s.Skipped++
		}
		s.Cases = append(s.Cases, test)
	}
	if r.held() {
		for i := range r.Baseline.Figures {
			f := &r.Baseline.Figures[i]
			test := junitCase{Class: "thimble.baseline", Name: f.Name}
			if f.Outcome == worse {
				test.Failure = &junitFailure{f.sentence(), "baseline", f.sentence()}
				s.Failures++
			}
			s.Cases = append(s.Cases, test)
		}
	}
	if len(s.Cases) == 0 { // readers complain of a suite without tests
		s.Cases = []junitCase{{Class: "thimble.verify", Name: "measured", Skipped: &junitSkipped{"no gate was set"}}}
		s.Skipped++
	}
	s.Tests = len(s.Cases)
	all := junitSuites{junitCounts: s.junitCounts, Suite: s}
	text, err := xml.MarshalIndent(&all, "", "  ")
	return append([]byte(xml.Header), append(text, '\n')...), err
}

// lawful puts U+FFFD for what XML 1.0 cannot have (section 2.2).
func lawful(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 {
			return r
		}
		return utf8.RuneError
	}, text)
}
