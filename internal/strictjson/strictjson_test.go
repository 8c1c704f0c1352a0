package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	const text = ` {"a": [1, -2.5e+3, true, false, null, "x\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"], "b": {"": {}, "c": []}, "é": 0 }
`
	got, err := Decode("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"a": []any{Number("1"), Number("-2.5e+3"), true, false, nil, "x\"\\/\b\f\n\r\té😀"},
		"b": map[string]any{"": map[string]any{}, "c": []any{}},
		"é": Number("0"),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	if _, err := Decode("f", []byte(deep(MaxDepth))); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
	many := "[" + strings.Repeat("0,", MaxMembers)
	for _, c := range []struct{ text, want string }{
		{"", "byte 0: the text ends, want a value"},
		{"\x00", `byte 0: found '\x00', want a value`},
		{"{} \x00", `byte 3: unexpected '\x00' after the value`},
		{"{}{}", `byte 2: unexpected '{' after the value`},
		{"nul", "byte 0: found 'n', want a value"},
		{"[null}", "byte 5: found '}', want a comma or ']'"},
		{`{"a": {null`, `byte 7: a: found null, want a key`},
		{"NaN", `byte 0: found 'N', want a value`},
		{`{"a" 1}`, `byte 5: found a number after key "a", want a colon`},
		{`{a: 1}`, `byte 1: found 'a', want a key`},
		{`{"a": 1,}`, `byte 8: found '}', want a key`},
		{`[1,]`, `byte 3: found ']', want a value`},
		{`[1 2]`, `byte 3: found a number, want a comma or ']'`},
		{`{"a": {"b": [tru]}}`, `byte 13: a.b: found 't', want a value`},
		{`{"a":1,"a":1}`, `byte 10: key "a" occurs twice`},
		{`{"a":1,"\u0061":1}`, `byte 15: key "a" occurs twice`},
		{`{"x":{"k":1,"k":2}}`, `byte 15: x: key "k" occurs twice`},
		{"\"\xff\"", "byte 2: string is not UTF-8"},
		{"\"\xed\xa0\x80\"", "byte 4: string is not UTF-8"},
		{`"\ud800"`, "byte 7: unpaired surrogate"},
		{`"\ud800\u0041"`, "byte 13: unpaired surrogate"},
		{`"\udc00\ud800"`, "byte 13: unpaired surrogate"},
		{`"\x"`, "byte 1: unknown escape"},
		{`"\u00g0"`, "byte 1: unknown escape"},
		{`"\u+0f0"`, "byte 1: unknown escape"},
		{`"a`, "byte 2: the text ends inside a string"},
		{`"a\`, "byte 2: unknown escape"},
		{"\"\n\"", "byte 1: control byte 0x0a in a string"},
		{"01", "byte 2: malformed number"},
		{"-", "byte 1: malformed number"},
		{"1.", "byte 2: malformed number"},
		{"1e", "byte 2: malformed number"},
		{deep(MaxDepth + 1), "byte 64: nested deeper than 64"},
		{many, fmt.Sprintf("byte %d: more than 262144 members", len(many))},
	} {
		_, err := Decode("f", []byte(c.text))
		if err == nil || err.Error() != "f: "+c.want {
			t.Errorf("%.40q: got %v, want %s", c.text, err, c.want)
		}
	}
	// Object finds duplicates also after the first 16 keys, which it searches linearly.
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `"k%d":0,`, i)
	}
	for _, i := range []int{0, 15, 16, 17, 99} {
		if _, err := Decode("f", fmt.Appendf(nil, `{%s"k%d":0}`, b.String(), i)); err == nil {
			t.Errorf("Decode accepts k%d twice", i)
		}
	}
}

func TestUint(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "18446744073709551615": 1<<64 - 1} {
		if got, err := NewDecoder("f", 0, []byte(text)).Uint(); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"-1", "-0", "1.0", "1e3", "18446744073709551616", `"1"`, "null"} {
		if got, err := NewDecoder("f", 0, []byte(text)).Uint(); err == nil {
			t.Errorf("%s: got %d, want an error", text, got)
		}
	}
}

// The error for a value of the wrong kind names the kind found.
func TestKinds(t *testing.T) {
	read := map[string]func(d *Decoder) error{
		"an object": func(d *Decoder) error { return d.Object(func(string) error { return d.Skip() }) },
		"an array":  func(d *Decoder) error { return d.Array(func(int) error { return d.Skip() }) },
		"a string":  func(d *Decoder) error { _, err := d.String(); return err },
		"a number":  func(d *Decoder) error { _, err := d.Number(); return err },
	}
	for text, found := range map[string]string{
		"{}": "found an object", "[]": "found an array", `""`: "found a string", "-1": "found a number", "2": "found a number",
		"true": "found true", "false": "found false", "null": "found null", "x": "found 'x'", "": "the text ends",
	} {
		for kind, f := range read {
			err := f(NewDecoder("f", 7, []byte(text)))
			want := "f: byte 7: " + found + ", want " + kind
			switch ok := found == "found "+kind; {
			case ok && err != nil:
				t.Errorf("%s read as %s: %v", text, kind, err)
			case !ok && (err == nil || err.Error() != want):
				t.Errorf("%s read as %s: got %v, want %s", text, kind, err, want)
			}
		}
	}
}

// What this package accepts, encoding/json accepts with the same meaning.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e-7,"\ud83d\ude00",null,true,false]}`, `{"a":1,"a":2}`, "[[[]]]", "\"\xff\"", " 1 "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := Decode("f", text)
		if skipped := skip(text); (skipped == nil) != (err == nil) {
			t.Fatalf("%q: Decode returns %v, Skip returns %v", text, err, skipped)
		}
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("encoding/json rejects %q: %v", text, err)
		}
		if !reflect.DeepEqual(got, plain(want)) {
			t.Fatalf("%q: got %v, want %v", text, got, want)
		}
	})
}

// plain converts each json.Number in v to a Number.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		return Number(v)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

func skip(text []byte) error {
	d := NewDecoder("f", 0, text)
	if err := d.Skip(); err != nil {
		return err
	}
	return d.End()
}

// A Mark lets a skipped value be read later.
func TestMark(t *testing.T) {
	d := NewDecoder("f", 0, []byte(`{"a": [["x", "y\n"], 2], "b": "c"}`))
	var mark Mark
	err := d.Object(func(key string) error {
		if key == "a" {
			mark = d.Mark()
		}
		return d.Skip()
	})
	if err == nil {
		err = d.End()
	}
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.At(mark).Any()
	if want := []any{[]any{"x", "y\n"}, Number("2")}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	deep := strings.Repeat("[", MaxDepth)
	if _, err := d.At(Mark{depth: 1}).Any(); err != nil {
		t.Errorf("from the start: %v", err)
	}
	d = NewDecoder("f", 0, []byte(deep))
	if _, err := d.At(Mark{depth: 1}).Any(); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("At ignores the depth of its mark: %v", err)
	}
}

func TestWithin(t *testing.T) {
	for n, want := range map[int]string{6: "f: byte 1: the value takes more than 6 bytes", 7: "", 100: ""} {
		d := NewDecoder("f", 0, []byte(` ["abc"] `))
		v, err := d.Within(n)
		if want != "" {
			if err == nil || err.Error() != want {
				t.Errorf("within %d: %v, want %s", n, err, want)
			}
			continue
		}
		if err == nil {
			err = d.End()
		}
		if err != nil || !reflect.DeepEqual(v, []any{"abc"}) {
			t.Errorf("within %d: %v, %v", n, v, err)
		}
	}
	d := NewDecoder("f", 0, []byte(`[1,2,3]`))
	d.AllowMembers(2)
	if _, err := d.Any(); err == nil || !strings.Contains(err.Error(), "more than 2 members") {
		t.Errorf("three members where two are allowed: %v", err)
	}
}
