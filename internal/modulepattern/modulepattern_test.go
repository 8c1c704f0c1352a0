package modulepattern

import (
	"fmt"
	"regexp/syntax"
	"runtime"
	"strings"
	"testing"
	"time"
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

// Whatever a file's patterns are, they take a bounded time: without the limit, a minute and more.
func TestTime(t *testing.T) {
	for _, pattern := range []string{"%d(?i)[" + strings.Repeat("B-\U0001e942", 160) + "]", "%d(?m-s)(?si:[" + strings.Repeat("B-\U0001e942", 160) + "])", "%d[" + strings.Repeat(`\pL`, 330) + "]"} {
		begun := time.Now()
		var c Compiler
		var err error
		n := 0
		for ; err == nil && n < 4096; n++ {
			_, err = c.Compile(fmt.Sprintf(pattern, n))
		}
		if used := time.Since(begun); err == nil || used > 20*time.Second { // the machine may be busy
			t.Errorf("%.20q: %d patterns take %v: %v", pattern, n, used, err)
		} else {
			t.Logf("%.20q: %d patterns take %v", pattern, n, used)
		}
	}
}
