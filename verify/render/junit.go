package render

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"thimble/verify"
)

// The elements of JUnit's XML that its readers agree on. encoding/xml escapes
// attributes and texts; CDATA may hold only what XML allows.
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
		Time     string `xml:"time,attr"` // seconds
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
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

// JUnit is a report as JUnit's XML: a test case for each gate, which fails if the
// gate was missed and is skipped if it is undecided, the metrics as properties, and
// the report for people as the suite's output.
func JUnit(r *verify.Report) ([]byte, error) {
	s := junitSuite{Out: junitText{"\n" + allowedXML(Text(r))}}
	s.Name = "thimble verify " + printable(baseName(r.Model.Path))
	add := func(name, value string) { s.Properties = append(s.Properties, junitProperty{name, value}) }
	add("model", printable(r.Model.Path))
	add("sha256", r.Model.SHA256)
	add("bytes", strconv.FormatInt(r.Model.Bytes, 10))
	add("bits_per_weight", strconv.FormatFloat(r.Model.BitsPerWeight, 'g', -1, 64))
	add("arithmetic", r.Arithmetic.String())
	if r.Against != "" {
		add("against", printable(r.Against))
	}
	for i := range verify.MetricTable {
		if v := verify.MetricTable[i].Of(&r.Metrics); v.Known() {
			add(verify.MetricTable[i].Name, strconv.FormatFloat(float64(v), 'g', -1, 64))
		}
	}
	for i := range r.Gates {
		s.Cases = append(s.Cases, gateCase(r, &r.Gates[i]))
	}
	if r.Baseline.Compared() {
		for i := range r.Baseline.Figures {
			f := &r.Baseline.Figures[i]
			test := junitCase{Class: "thimble.baseline", Name: f.Name}
			if f.Outcome == verify.Worse {
				test.Failure = &junitFailure{figureSentence(f), "baseline", figureSentence(f)}
			}
			s.Cases = append(s.Cases, test)
		}
	}
	if len(s.Cases) == 0 { // some readers reject a suite without tests
		s.Cases = []junitCase{{Class: "thimble.verify", Name: "measured", Skipped: &junitSkipped{"no gate was set"}}}
	}
	s.Tests, s.Time = len(s.Cases), seconds(r.Elapsed)
	for i := range s.Cases { // one run measures them all; viewers add their times up
		test := &s.Cases[i]
		test.Time = seconds(r.Elapsed / time.Duration(len(s.Cases)))
		if test.Failure != nil {
			s.Failures++
		}
		if test.Skipped != nil {
			s.Skipped++
		}
	}
	all := junitSuites{junitCounts: s.junitCounts, Suite: s}
	text, err := xml.MarshalIndent(&all, "", "  ")
	return append([]byte(xml.Header), append(text, '\n')...), err
}

// gateCase returns the test case of one of r's gates.
func gateCase(r *verify.Report, c *verify.Check) junitCase {
	test := junitCase{Class: "thimble.verify", Name: fmt.Sprintf("%s %s %s", c.Metric, c.Op, strconv.FormatFloat(c.Limit, 'g', -1, 64))}
	switch why := reason(r, c); c.Outcome {
	case verify.Missed:
		test.Failure = &junitFailure{why, "gate", why}
		if c.Pass {
			test.Failure.Type = verify.Undecided
		}
		if r.Diagnosis != "" {
			test.Failure.Text += "; " + printable(r.Diagnosis)
		}
	case verify.Undecided:
		test.Skipped = &junitSkipped{verify.Undecided + ": " + why}
	}
	return test
}

// seconds formats a duration as JUnit does.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// allowedXML replaces the characters that XML 1.0 forbids (section 2.2) by U+FFFD.
func allowedXML(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 {
			return r
		}
		return utf8.RuneError
	}, text)
}
