package model

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// every lists the fields of a struct and of the structs in it, by their JSON names.
func every(prefix string, v reflect.Value, visit func(name string, f reflect.Value)) {
	for i := range v.NumField() {
		tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			every(prefix+tag+".", f, visit)
		} else {
			visit(prefix+tag, f)
		}
	}
}

// Whatever field of a Spec changes, a row of Features says so, but for the tokens
// that start and end a text.
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
	every("", reflect.ValueOf(&s).Elem(), func(name string, f reflect.Value) {
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
			return // below
		}
		want := []string{name}
		switch name {
		case "bos":
			want = nil
		case "headdim": // which others follow
			want = []string{"headdim", "rope.dims", "attnscale"}
		}
		check(name, want...)
	})
	for name, change := range map[string]func(){
		"schedule":  func() { s.Schedule = []int{0, 1, 0, 1} },
		"window":    func() { s.Attention[0].Window = 9 },
		"chunk":     func() { s.Attention[1].Chunk = 9 },
		"rope":      func() { s.Attention[0].Rope = NoRope },
		"rope.base": func() { s.Ropes[0].Base = 6 },
	} {
		attention, ropes, schedule := slices.Clone(s.Attention), slices.Clone(s.Ropes), s.Schedule
		change()
		if name != "schedule" { // another order also exchanges what the blocks have
			check(name, name)
		} else if d := Differences(&s, &same); len(d) == 0 || d[0].Name != name {
			t.Errorf("another schedule: %v", d)
		}
		s.Attention, s.Ropes, s.Schedule = attention, ropes, schedule
	}
}

// Two ways to say the same are no difference.
func TestFeaturesHaveDefaults(t *testing.T) {
	s, same := tiny(), tiny()
	same.EmbedScale, same.AttnScale, same.Rope.Dims = 1, s.ScoreScale(), s.HeadDim
	same.Attention = []Attention{{Window: s.Context}, {Chunk: s.Context + 1}}
	same.NormEps = float64(float32(s.NormEps))
	if d := Differences(&s, &same); d != nil {
		t.Errorf("%s is %q, here %q", d[0].Name, d[0].Value(&s, 0), d[0].Value(&same, 0))
	}
}

func TestNotes(t *testing.T) {
	s := tiny()
	if notes := s.Notes(); notes != nil {
		t.Errorf("a Llama has the notes %q", notes)
	}
	s.Attention, s.Activation, s.PostNorm = []Attention{{Window: 8}, {Rope: NoRope}}, GELUTanh, true
	want := "attention window of 8 (1 of 2 blocks), norms after attention and feed-forward, no rotary embedding (1 of 2 blocks), gelu-tanh"
	if got := strings.Join(s.Notes(), ", "); got != want {
		t.Errorf("notes are %q, want %q", got, want)
	}
}
