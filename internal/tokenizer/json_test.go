package tokenizer

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func parse(b []byte) (any, error) {
	s := &scanner{file: "f", b: b}
	v := s.value()
	s.end()
	return v, s.err
}

func TestScannerAccepts(t *testing.T) {
	for _, s := range []string{
		`null`, ` true `, `false`, `0`, `-0`, `-12.5e+3`, `1E5`, `""`, `"a\"b\\\/\b\f\n\r\t"`, `"\u00e9\ud83d\udc4d\u0000"`, `"é👍"`,
		`[]`, `[[],{}]`, `{"a":{"b":[1,2,null]},"":"x"}`, "[\n1 ,\t2\r]", `"` + strings.Repeat("x\\n", 999) + `"`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64),
	} {
		got, err := parse([]byte(s))
		if err != nil {
			t.Errorf("%.50s: %v", s, err)
			continue
		}
		var want any
		if err := json.Unmarshal([]byte(s), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%.50s: got %v, want %v (%v)", s, got, want, err)
		}
	}
}

func TestScannerRefuses(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{``, `want a value`}, {`nul`, `want a value`}, {`NaN`, `want a value`}, {`Infinity`, `want a value`}, {`01`, `want a value`},
		{`1.`, `want a value`}, {`.5`, `want a value`}, {`+1`, `want a value`}, {`0x10`, `want a value`}, {`1_000`, `after the end`},
		{`1e999`, `want a value`}, {`1.5.5`, `want a value`},
		{`"`, `without an end`}, {`"\`, `without an end`}, {`"a\n`, `without an end`}, {"\"\n\"", `control byte`}, {`"\x"`, `unknown escape`},
		{`"\u12"`, `unknown escape`}, {`"\ud800"`, `lone surrogate`}, {`"\udc00\ud800"`, `lone surrogate`}, {`"\ud800\u0041"`, `lone surrogate`},
		{"\"\xff\"", `not UTF-8`}, {"\"\\n\xed\xa0\x80\"", `not UTF-8`}, {"\"\\n\x01\"", `control byte`},
		{`[`, `want a value`}, {`[1`, `want ']'`}, {`[1,]`, `want a value`}, {`[,]`, `want a value`}, {`[1 2]`, `want ']'`}, {`]`, `want a value`},
		{`{`, `want '"'`}, {`{"a"}`, `want ':'`}, {`{"a":}`, `want a value`}, {`{"a":1,}`, `want '"'`}, {`{a:1}`, `want '"'`}, {`{1:1}`, `want '"'`},
		{`{"a":1,"a":2}`, `duplicate key "a"`}, {`{"a":1,"\u0061":2}`, `duplicate key "a"`}, {`[{"b":{"x":1,"x":1}}]`, `duplicate key "x"`},
		{`1 2`, `after the end`}, {`{}x`, `after the end`}, {"\ufeff{}", `want a value`},
		{strings.Repeat("[", 65) + strings.Repeat("]", 65), `nested more than 64 deep`},
		{strings.Repeat(`{"a":`, 1<<16), `nested more than 64 deep`},
		{`[` + strings.Repeat("1,", maxTree) + `1]`, `longer than 1 MiB`}, {`"` + strings.Repeat("x", maxTree) + `"`, `longer than 1 MiB`},
	} {
		if v, err := parse([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.50q: got %v, %v, want an error with %q", c.in, v, err, c.want)
		}
	}
}

// The scanner takes a subset of what encoding/json takes and agrees on it.
func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":[1,-2.5e3,null,true,"\ud83d\udc4dé\n"]}`, `{"a":1,"a":2}`, `[[[`, `"\u`, `1e5`, "\"\xff\""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parse(b)
		s := &scanner{file: "f", b: b}
		s.skip()
		if s.end(); s.err == nil && err != nil && len(b) < maxTree {
			t.Fatalf("skip takes what value refuses: %v", err)
		}
		if err != nil {
			return
		}
		var want any
		if err := json.NewDecoder(bytes.NewReader(b)).Decode(&want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v (%v)", got, want, err)
		}
	})
}
