package jinja

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"thimble/internal/chat/python"
)

func TestErrors(t *testing.T) {
	for source, want := range map[string]string{
		"a\n{{ x":                                "line 2: a tag is not closed",
		"\n\n{# x":                               "line 3: a comment is not closed",
		"{% raw %}\n{% end %}":                   "line 1: a raw block is not closed",
		"{{ 'x }}":                               "line 1: a string is not closed",
		`{{ 'x\`:                                 "line 1: a string is not closed",
		`{{ '\x4' }}`:                            `line 1: "\\x4'" is not a valid character`,
		`{{ '\ud800' }}`:                         `line 1: "\\ud800" is not a valid character`,
		`{{ '\N{DASH}' }}`:                       `line 1: the escape \N is not supported`,
		"{# a\n b #}\n\nt\n{% for %}\n":          `line 5: want a name, found %}`,
		"{% for x in y %}":                       "line 1: the template ends before a tag endfor",
		"{{ 1 + }}":                              "line 1: unexpected }}",
		"{{ (1] }}":                              "line 1: unexpected ']'",
		"{{ a ! b }}":                            "line 1: unexpected character '!'",
		"{% set 1 = 2 %}":                        `line 1: want a name, found "1"`,
		"{% set none = 2 %}":                     "line 1: cannot assign to none",
		"{% macro f(a=1, b) %}{% endmacro %}":    "line 1: a parameter without a default follows one with a default",
		"{% macro f(a, a) %}{% endmacro %}":      "line 1: a cannot be a parameter",
		"{{ f(a=1, 2) }}":                        "line 1: the arguments of the call are in a wrong order",
		"\n{% break %}":                          "line 2: break and continue are allowed in a loop only",
		"\n{% block x %}{% endblock %}":          "line 2: tag block is not supported",
		"{% include 'x' %}":                      "line 1: tag include is not supported",
		"\n\n{{ x | xmlattr }}":                  "line 3: filter xmlattr is not supported",
		"{% if x %}{{ x | xmlattr }}{% endif %}": "line 1: filter xmlattr is not supported",
		"{{ x is nope }}":                        "line 1: test nope is not supported",
		"{{ 1 if x is nope else 2 }}":            "line 1: test nope is not supported", // where it is reached
		"{{ cycler('a') }}":                      "line 1: cycler is not supported",
		"\n{{ 'a'.encode() }}":                   "line 2: str.encode is not supported",
		"{{ loop.index }}":                       "line 1: 'loop' is undefined",
		"{{ x.y.z }}":                            "line 1: 'x' is undefined",
		"{{ none.y.z }}":                         "line 1: 'NoneType object' has no attribute 'y'",
		"{{ 'a'.upper }}":                        "line 1: a function cannot be printed",
		"{{ [1] | map('string') }}":              "line 1: a generator cannot be printed",
		"{{ [].append(1) }}":                     "line 1: access to attribute 'append' of 'list' object is unsafe",
		"{{ 1 + 'a' }}":                          "line 1: unsupported operand type(s) for +: 'int' and 'str'",
		"{{ 1 // 0 }}":                           "line 1: division by zero",
		"{{ 'a' | tojson(nope=1) }}":             "line 1: tojson: keyword argument 'nope' is not supported here",
		"{{ 'a'.split(1, 2, 3) }}":               "line 1: split takes at most 2 arguments, got 3",
		"{{ raise_exception('no\nway') }}":       "no\nway",
	} {
		if got, err := render(source, nil); err == nil || err.Error() != want {
			t.Errorf("%q: %q, %v, want %s", source, got, err, want)
		}
	}
	_, err := render("{{ raise_exception('no') }}", nil)
	if rejection := (*Rejection)(nil); !errors.As(err, &rejection) || rejection.Message != "no" {
		t.Errorf("%v, want a Rejection", err)
	}
}

// Each limit holds up to its value, and no further.
func TestLimits(t *testing.T) {
	nested := func(n int) string { return "{{ " + strings.Repeat("(", n) + "1" + strings.Repeat(")", n) + " }}" }
	params := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprint("a", i))
		}
		return "{% macro f(" + strings.Join(list, ", ") + ") %}{% endmacro %}"
	}
	// Each bracket is two levels; the statements, the expression and its operand are others.
	const brackets = (maxNesting - 3) / 2
	for _, c := range []struct{ passes, fails, want string }{
		{nested(brackets), nested(brackets + 1), "nests deeper than 200"},
		{params(python.MaxParams), params(python.MaxParams + 1), "more than 1000 parameters are not supported"},
		{fmt.Sprintf("{{ 'a' * %d }}", python.MaxText), fmt.Sprintf("{{ 'a' * %d }}a", python.MaxText), "makes a text of more than 64 MB"},
		{"", "{% for i in range(99) %}{% set x = 'a' * 64000000 %}{% endfor %}", "makes texts and lists of more than 512 MB"},
		{"", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "takes more than 20 million steps"},
		{fmt.Sprintf("{{ range(%d) | length }}", python.MaxRange), fmt.Sprintf("{{ range(%d) | length }}", python.MaxRange+1), "a range has more than 100000 numbers"},
		{"{{ 1" + strings.Repeat("+1", 1990) + " }}", "{{ 1" + strings.Repeat("+1", 2000) + " }}", "recurses without end"},
		{"", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recurses without end"},
	} {
		if _, err := render(c.passes, nil); err != nil {
			t.Errorf("%.60q: %v", c.passes, err)
		}
		if _, err := render(c.fails, nil); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%.60q: %v, want %s", c.fails, err, c.want)
		}
	}
}

// What could take much from little ends at a limit.
func TestGrowth(t *testing.T) {
	const big = "{% set s = 'ab' * 9999999 %}"
	for _, source := range []string{
		big + "{{ s | replace('', s) }}", "{% set s = 'ab' * 99999 %}{{ s.join(s) }}", big + "{{ s | indent(99999999) }}", "{{ 'a' | center(999999999999) }}", "{{ 'a'.zfill(2 ** 40) }}",
		big + "{{ [s] * 9999 | tojson }}", big + "{{ ([s] * 9999) | join }}", big + "{{ ([s] * 9999) | string | length }}", "{{ [[]] | tojson(indent=99999999999) }}",
		big + "{{ ('{0}' * 999).format(s) }}", big + "{{ '%s%s%s%s%s' % (s, s, s, s, s) }}", big + "{{ {'a': s, 'b': s, 'c': s, 'd': s} }}",
		"{% set ns = namespace(l=['a' * 99]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
		"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l == [ns.l[0], ns.l[0] + []] }}",
		"{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = ns.l | unique %}{% endfor %}{{ ns.l | list }}",
		"{% set ns = namespace(l=[1]) %}{% for i in range(9999) %}{% set ns.l = ns.l | map('int') %}{% endfor %}{{ ns.l | list }}",
		"{% set ns = namespace(l=()) %}{% for i in range(9999) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}",
		"{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
		"{% set ns = namespace(t=(1,)) %}{% for i in range(99) %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}{{ {ns.t: 1} }}",
		big + "{{ s.strip(s) }}{{ s | escape | escape }}{{ s | forceescape | forceescape }}",
		"{% set s, t = 'ab' * 999999, 'cd' * 999998 %}{% for i in range(99999) %}{% set x = s[0] ~ t[0] %}{% endfor %}",
		big + "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = 'c' in s %}{% endfor %}{% endfor %}",
	} {
		if got, err := render(source, nil); err == nil {
			t.Errorf("%s: %d bytes, want an error", source, len(got))
		}
	}
}

// No template and no value makes the engine panic, and a template that renders does so again.
func FuzzRender(f *testing.F) {
	variables, templates := readGolden(f, "testdata/golden.json")
	for _, pair := range templates {
		f.Add(*pair[0])
	}
	f.Fuzz(func(t *testing.T, source string) {
		c, err := Compile(source)
		if err != nil {
			return
		}
		first, err := c.Render(variables)
		again, err2 := c.Render(variables)
		if first != again || (err == nil) != (err2 == nil) {
			t.Errorf("%q: %q, %v, then %q, %v", source, first, err, again, err2)
		}
	})
}

// BenchmarkRender renders a template as of Qwen 2.5 with a tool.
func BenchmarkRender(b *testing.B) {
	variables, _ := readGolden(b, "testdata/golden.json")
	c, err := Compile("{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{%- endfor %}{%- for t in tools %}{{ t | tojson }}{%- endfor %}")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Render(variables); err != nil {
			b.Fatal(err)
		}
	}
}
