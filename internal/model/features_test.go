package model

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// visitFields calls visit with each field of a struct and of the structs in it, by
// its JSON name.
func visitFields(prefix string, v reflect.Value, visit func(name string, f reflect.Value)) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			visitFields(prefix+tag+".", f, visit)
		} else {
			visit(prefix+tag, f)
		}
	}
}

// Differences reports a change of any field of a Spec, except the tokens that start
// and end a text.
func TestFeaturesAreComplete(t *testing.T) {
	s, same := tiny(), tiny()
	for _, spec := range []*Spec{&s, &same} {
		spec.Ropes = []Rope{{Base: 5}}
		spec.Attention = []Attention{{}, {Rope: 1}}
	}
	if d := Differences(&s, &same); d != nil {
		t.Fatalf("equal specs differ in %v", d[0].Name)
	}
	check := func(name string, want ...string) {
		var got []string
		for _, f := range Differences(&s, &same) {
			got = append(got, f.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: Differences names %v, want %v", name, got, want)
		}
	}
	visitFields("", reflect.ValueOf(&s).Elem(), func(name string, f reflect.Value) {
		if strings.HasPrefix(name, "temperature.") {
			return // one feature, tested below
		}
		old := reflect.ValueOf(f.Interface())
		defer f.Set(old)
		switch f.Kind() {
		case reflect.Bool:
			f.SetBool(!f.Bool())
		case reflect.Int:
			f.SetInt(f.Int() + 2)
		case reflect.Float64:
			f.SetFloat(f.Float() + 0.75)
		case reflect.String:
			f.SetString("other")
		case reflect.Slice:
			return // tested below
		}
		want := []string{name}
		switch name {
		case "bos":
			want = nil
		case "experts.count":
			want = append(want, "experts.dense")
		case "headdim": // the defaults of the other two depend on it
			want = []string{"headdim", "rope.dims", "attnscale"}
		}
		check(name, want...)
	})
	for name, change := range map[string]func(){
		"schedule":     func() { s.Schedule = []int{0, 1, 0, 1} },
		"window":       func() { s.Attention[0].Window = 9 },
		"chunk":        func() { s.Attention[1].Chunk = 9 },
		"rope":         func() { s.Attention[0].Rope = NoRope },
		"rope.base":    func() { s.Ropes[0].Base = 6 },
		"rope.factors": func() { s.Ropes[0].Factors = []float64{2} },
		"temperature":  func() { s.Temperature = Temperature{Beta: 0.1, Length: 5, Shift: 1} },
	} {
		attention, ropes, schedule := slices.Clone(s.Attention), slices.Clone(s.Ropes), s.Schedule
		change()
		if name != "schedule" { // a different order also changes which block's features a step has
			check(name, name)
		} else if d := Differences(&s, &same); len(d) == 0 || d[0].Name != name {
			t.Errorf("schedule: Differences returns %v", d)
		}
		s.Attention, s.Ropes, s.Schedule, s.Temperature = attention, ropes, schedule, Temperature{}
	}
}

// An omitted value equals its default, and numbers are equal if they round to the
// same float32.
func TestFeaturesHaveDefaults(t *testing.T) {
	s, same := tiny(), tiny()
	same.EmbedScale, same.AttnScale, same.Rope.Dims = 1, s.ScoreScale(), s.HeadDim
	same.Attention = []Attention{{Window: s.Context}, {Chunk: s.Context + 1}}
	same.NormEps = float64(float32(s.NormEps))
	if d := Differences(&s, &same); d != nil {
		t.Errorf("%s is %q with the default and %q when set", d[0].Name, d[0].Value(&s, 0), d[0].Value(&same, 0))
	}
}

func TestNotes(t *testing.T) {
	s := tiny()
	if notes := s.Notes(); notes != nil {
		t.Errorf("notes on a Llama are %q, want none", notes)
	}
	s.Attention, s.Activation, s.PostNorm = []Attention{{Window: 8}, {Rope: NoRope}}, GELUTanh, true
	want := "attention window of 8 (1 of 2 blocks), norms after attention and feed-forward, no rotary embedding (1 of 2 blocks), gelu-tanh"
	if got := strings.Join(s.Notes(), ", "); got != want {
		t.Errorf("notes are %q, want %q", got, want)
	}
}
