package python

import (
	"strings"
	"testing"
)

// Each limit holds up to its value, and no further.
func TestLimits(t *testing.T) {
	keywords := func(n int) error {
		var a Arguments
		for i := range n {
			if err := a.Add(strings.Repeat("k", i+1), nil); err != nil {
				return err
			}
		}
		return nil
	}
	deep := func(n int) error {
		v := Value(int64(1))
		for range n {
			v = &List{[]Value{v}}
		}
		_, err := new(Run).Str(v)
		return err
	}
	for what, c := range map[string]struct {
		at  func(n int) error
		max int
	}{
		"text":       {new(Run).CheckText, MaxText},
		"memory":     {func(n int) error { return new(Run).Charge(n) }, maxMemory},
		"steps":      {func(n int) error { return new(Run).Step(n) }, maxSteps},
		"depth":      {deep, maxDepth - 1},
		"keywords":   {keywords, MaxParams},
		"an integer": {func(n int) error { _, err := Arithmetic("**", int64(2), int64(n-1)); return err }, MaxBits},
		"a key": {func(n int) error {
			_, err := HashOf(&Tuple{make([]Value, n)})
			return err
		}, maxKey},
		"a range": {func(n int) error {
			_, err := Range(new(Run), Arguments{Pos: []Value{int64(n)}})
			return err
		}, MaxRange},
	} {
		if err := c.at(c.max); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := c.at(c.max + 1); err == nil {
			t.Errorf("%s: no error at %d", what, c.max+1)
		}
	}
}
