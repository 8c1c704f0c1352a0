package modulepattern

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"runtime"
	"strings"
	"testing"
)

func TestLimits(t *testing.T) {
	if _, err := new(Compiler).Compile(strings.Repeat("a", maxPattern)); err != nil {
		t.Error(err)
	}
	if _, err := new(Compiler).Compile(strings.Repeat("a", maxPattern+1)); err == nil {
		t.Error("a pattern longer than the limit compiles")
	}
	var c Compiler
	for range maxProgram / (fixed + 16) {
		if _, err := c.Compile(strings.Repeat("a", 16)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Compile(""); err == nil {
		t.Error("programs larger than the limit compile")
	}
	c = Compiler{}
	p, err := c.Compile("a*b")
	if err != nil {
		t.Fatal(err)
	}
	steps := func(name string) int {
		before := c.work
		p.Match(name)
		return c.work - before
	}
	c.work = maxWork - steps("aaa")
	if _, err := p.Match("aaa"); err != nil || c.work != maxWork {
		t.Errorf("%d steps: %v", c.work, err)
	}
	c.work++
	c.work -= steps("aaa")
	if matched, err := p.Match("aaa"); err == nil || matched {
		t.Error("more steps than the limit are no error")
	}
}

// Match is re.match of Python, which package regexp is behind a "^".
func TestMatch(t *testing.T) {
	patterns := []string{
		"", "a", "b", "ab|ba", ".*b$", `(?:.*\.)?(?:layers\.[0-3]\.q_proj)$`, "a{2,3}b", "(a|ab)(c|bcd)$", `\ba\b`, `a\Bb`, "(?i)A.*Z$", "a$", "$", "^a", "(?m)a$\n^b", "[^a]+$", `\pL\pN`, "(?s).*c",
		"(a*)*b", "(a*)+$", "(|a)*$", "(?:a?){9}a{9}$", "é", ".é$", "x^", `a\z`,
	}
	names := []string{"", "a", "b", "ab", "abc", "aab", "aaab", "aaaaaaaaa", "abcd", "acd", "a\nb", "a.b", "model.layers.2.q_proj", "model.layers.4.q_proj", "layers.0.q_proj", "xlayers.0.q_proj", "AxZ", "é", "éé", "a1", "é1", "a\xff", "\xff", "x"}
	for _, pattern := range patterns {
		p, err := new(Compiler).Compile(pattern)
		if err != nil {
			t.Fatal(err)
		}
		slow := regexp.MustCompile("^(?:" + pattern + ")")
		for _, name := range names {
			if got, err := p.Match(name); err != nil || got != slow.MatchString(name) {
				t.Errorf("%q, %q: %t, %v", pattern, name, got, err)
			}
		}
	}
}

// No pattern has a program larger than what is counted for it.
func TestSize(t *testing.T) {
	for _, pattern := range []string{
		"", "a", "model", ".*", `^(?:.*\.)?(?:layers\.[0-3]\.q_proj)$`, "a{3}", "a{3,}", "a{3,7}", "a{0,7}", "(a?){9}", "((ab|c){3}d+){5}", `(\pL{9}){99}`,
		"a??b*?c+?", "(?i)straße", "x{0}", "(?:){9}", "[^a]|[bc]", `\bq\B$`, strings.Repeat("x?", 400),
	} {
		re, err := syntax.Parse(pattern, syntax.Perl)
		if err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		counted := fixed + size(re)
		program, err := syntax.Compile(re.Simplify())
		if err != nil {
			t.Fatalf("%q: %v", pattern, err)
		}
		if n := len(program.Inst); n > counted {
			t.Errorf("%q has %d instructions, counted as %d", pattern, n, counted)
		}
	}
}

// Whatever a file's patterns are, they take a bounded part of memory.
func TestMemory(t *testing.T) {
	for _, pattern := range []string{"%d(?:" + strings.Repeat("x?", 400) + "){1000}", `%d(?:(?:\pL{9}){99}|a)`, `%d\pL?\pN?\PM`, "%d"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var c Compiler
		var err error
		n := 0
		for ; err == nil && n < 1e5; n++ {
			_, err = c.Compile(fmt.Sprintf(pattern, n))
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; err == nil || used > 256<<20 {
			t.Errorf("%.20q: %d patterns allocate %d MiB: %v", pattern, n, used>>20, err)
		} else {
			t.Logf("%.20q: %d patterns allocate %d MiB", pattern, n, used>>20)
		}
	}
}

// Patterns whose parsing takes long are refused after a few, although their programs are small. A
// kilobyte took more than a second.
func TestParsing(t *testing.T) {
	for _, pattern := range []string{"%d(?i)[" + strings.Repeat("B-\U0001e942", 160) + "]", "%d(?m-s)(?si:[" + strings.Repeat("B-\U0001e942", 160) + "])", "%d[" + strings.Repeat(`\pL`, 330) + "]"} {
		var c Compiler
		var err error
		n := 0
		for ; err == nil && n < 10; n++ {
			_, err = c.Compile(fmt.Sprintf(pattern, n))
		}
		if err == nil {
			t.Errorf("%.20q: %d patterns compile", pattern, n)
		}
	}
}
