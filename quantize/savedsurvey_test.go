package quantize

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// savedSurvey returns a survey of m in two schemes.
func savedSurvey(t *testing.T, m *model.Model, texts int) *SavedSurvey {
	t.Helper()
	c := randomTexts(texts, 40, m.Spec.Vocab)
	s, err := NewSurvey(t.Context(), m, c, []qtensor.Scheme{scheme(t, "int4/g32"), scheme(t, "int5/g32/asym")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &SavedSurvey{Survey: *s, Model: Facts{{"a \"file\"\\", "12<3"}, {"b", ""}}, Texts: c.Facts(), Tokens: c.Tokens()}
}

// Text reads back to the same bits, and they give the same text again.
func TestSavedSurvey(t *testing.T) {
	m := livelyModel(t, nil)
	s := savedSurvey(t, m, 3)
	s.cost["embed"] = []float64{math.Copysign(0, -1), math.SmallestNonzeroFloat64}
	s.cost["blocks.0.q"] = []float64{math.MaxFloat64, 1.0 / 3}
	text, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSurvey("file", text)
	if err != nil {
		t.Fatal(err)
	}
	for name, costs := range s.cost {
		for i, v := range costs {
			if math.Float64bits(got.cost[name][i]) != math.Float64bits(v) {
				t.Errorf("%s: %v became %v", name, v, got.cost[name][i])
			}
		}
	}
	if diff := cmp.Diff(s, got, cmp.AllowUnexported(Survey{})); diff != "" {
		t.Error(diff)
	}
	again, err := got.Text()
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("another text, %v", err)
	}
	if why := got.Fit(m, s.Model, s.Schemes); why != "" {
		t.Error(why)
	}
	s.cost["embed"][1] = math.Inf(1)
	if _, err := s.Text(); err == nil || err.Error() != "embed in int5/g32/asym is predicted to cost +Inf nats, which cannot be saved" {
		t.Errorf("error is %v", err)
	}
}

// A merged survey is the mean over all tokens.
func TestMergeSurveys(t *testing.T) {
	m := livelyModel(t, nil)
	a, b := savedSurvey(t, m, 1), savedSurvey(t, m, 3)
	if a.Tokens != 40 || b.Tokens != 120 {
		t.Fatalf("%d and %d tokens", a.Tokens, b.Tokens)
	}
	merged := MergeSurveys([]*SavedSurvey{a, b})
	if len(merged.cost) != len(a.cost) {
		t.Fatalf("%d matrices of %d", len(merged.cost), len(a.cost))
	}
	differ := false
	for name, costs := range merged.cost {
		for i, v := range costs {
			x, y := a.cost[name][i], b.cost[name][i]
			differ = differ || x != y
			if want := x/4 + 3*y/4; math.Abs(v-want) > 1e-12*math.Abs(want) {
				t.Errorf("%s: mean of %v and %v is %v, want %v", name, x, y, v, want)
			}
		}
	}
	if !differ {
		t.Error("two texts have the same costs")
	}
	if one := MergeSurveys([]*SavedSurvey{a}); !cmp.Equal(one.cost, a.cost) {
		t.Error("one survey is changed by being merged with none")
	}
}

func TestSurveyThatDoesNotFit(t *testing.T) {
	m := livelyModel(t, nil)
	s := savedSurvey(t, m, 1)
	untied := livelyModel(t, func(s *model.Spec) { s.Tied = false })
	deeper := livelyModel(t, func(s *model.Spec) { s.Blocks, s.Schedule = 3, model.InOrder(3, 1) })
	shallow := livelyModel(t, func(s *model.Spec) { s.Blocks, s.Schedule = 1, model.InOrder(1, 1) })
	for _, c := range []struct {
		m       *model.Model
		facts   Facts
		schemes []qtensor.Scheme
		want    string
	}{
		{m, Facts{{"a", "other"}}, s.Schemes, `it is a survey of another model: "a \"file\"\\": was 12<3, is absent`},
		{m, Facts{s.Model[0], {"b", "x"}}, s.Schemes, "it is a survey of another model: b: was nothing, is x"},
		{m, s.Model[:1], s.Schemes, "it is a survey of another model: b: was nothing, is absent"},
		{m, s.Model, s.Schemes[:1], "it is a survey of other schemes (--schemes int4/g32/sym,int5/g32/asym)"},
		{untied, s.Model, s.Schemes, "head is not in it"},
		{deeper, s.Model, s.Schemes, "blocks.2.q is not in it"},
		{shallow, s.Model, s.Schemes, "it has costs of 15 matrices, the model has 8"},
	} {
		if got := s.Fit(c.m, c.facts, c.schemes); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestDiffer(t *testing.T) {
	was := Facts{{"program", "1"}, {"recipe", "scheme: a\nset:\n- x\n"}}
	for _, c := range []struct {
		now  Facts
		want string
	}{
		{was, ""},
		{Facts{{"program", "2"}, was[1]}, "program: was 1, is 2"},
		{Facts{was[0], {"recipe", "scheme: a\nset:\n- y\n"}}, "recipe: was - x, is - y"},
		{Facts{was[0], {"recipe", "scheme: a\n"}}, "recipe: was set:, is nothing"},
		{Facts{was[0], {"size", "5"}, was[1]}, "size: was absent, is 5"},
		{was[:1], "recipe: was scheme: a, is absent"},
		{nil, "program: was 1, is absent"},
	} {
		if got := was.Differ(c.now); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// ParseSurvey refuses a text that is not a survey in one line.
func TestHostileSurveys(t *testing.T) {
	s := savedSurvey(t, livelyModel(t, nil), 1)
	good, err := s.Text()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, want string }{
		{`"thimble survey"`, `"another"`, `file: format: is another, want "thimble survey"`},
		{`"version": 1`, `"version": 2`, "file: version 2 of a survey (this program reads 1) is not supported"},
		{`"version": 1`, `"version": -1`, "whole number"},
		{`"arithmetic": 6`, `"arithmetic": 2`, "differ (arithmetic 2, here 6): remove it to survey again; it is not supported"},
		{`"arithmetic": 6`, `"arithmetic": "30b31fb2fa98e5d4"`, `differ (arithmetic "30b31fb2fa98e5d4", here 6)`},
		{`"arithmetic": 6`, `"arithmetic": [3]`, "found an array, want a number"},
		{`"tokens": 40`, `"tokens": 0`, "0 is no number of tokens"},
		{`"tokens": 40`, `"tokens": 99999999999`, "99999999999 is no number of tokens"},
		{`"tokens": 40`, `"tokens": 40, "tokens": 40`, `key "tokens" occurs twice`},
		{`"tokens": 40,`, ``, "file: tokens: is missing"},
		{`"tokens": 40,`, `"tokens": 40, "x": 1,`, "there is no such key in a survey"},
		{`"int4/g32/sym"`, `"int4/g32"`, "int4/g32 is not an integer scheme as this program spells it"},
		{`"int4/g32/sym"`, `"f16"`, "f16 is not an integer scheme"},
		{`"int4/g32/sym"`, `"int99"`, `schemes: scheme "int99"`},
		{`"int4/g32/sym",`, ``, "has 2 costs for 1 schemes"},
		{`["b",""]`, `["b"]`, "1 strings, want a name and a value"},
		{`"embed": [`, `"embed": [1e999,`, "1e999 does not fit a float64"},
		{`"embed": [`, `"embed": ["",`, "found a string, want a number"},
		{`"embed": [`, `"em\nbed": [1,`, "has 3 costs for 2 schemes"},
		{"\"\n}\n", "\"\n}\n}", "after the value"},
		{`"digest": "`, `"digest": "0`, "digest: is not that of the survey"},
		{`"tokens": 40`, `"tokens": 41`, "digest: is not that of the survey"},
	} {
		text := strings.Replace(string(good), c.from, c.to, 1)
		if text == string(good) {
			t.Fatalf("there is no %q in %s", c.from, good)
		}
		_, err := ParseSurvey("file", []byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s to %s: error is %v, want %q", c.from, c.to, err, c.want)
		}
	}
	for n := range good {
		if _, err := ParseSurvey("file", good[:n]); err == nil && n < len(good)-1 {
			t.Errorf("%d bytes are a survey", n)
		}
	}
}

// A survey of an early version has no digest.
func TestSurveyWithoutDigest(t *testing.T) {
	text, err := savedSurvey(t, livelyModel(t, nil), 1).Text()
	if err != nil {
		t.Fatal(err)
	}
	early := regexp.MustCompile(`,\n "digest": "[0-9a-f]{64}"`).ReplaceAll(text, nil)
	s, err := ParseSurvey("file", early)
	if err != nil || len(early) == len(text) {
		t.Fatalf("%d of %d bytes: %v", len(early), len(text), err)
	}
	if again, err := s.Text(); err != nil || string(again) != string(text) {
		t.Errorf("%s, %v", again, err)
	}
}

func FuzzParseSurvey(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(`{"format":"thimble survey","version":1,"arithmetic":%d,"tokens":4,"schemes":["int4/g32/sym"],"model":[["a","b"]],"texts":[],"costs":{"embed":[1]}}`, surveyArithmetic)))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSurvey("file", text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("not a line: %q", err)
			}
			return
		}
		again, err := s.Text()
		if err != nil {
			t.Fatal(err)
		}
		same, err := ParseSurvey("file", again)
		if err != nil || !cmp.Equal(s, same, cmp.AllowUnexported(Survey{})) {
			t.Errorf("%q became %q, %v", text, again, err)
		}
	})
}
