package pattern

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// all returns the matches of a pattern in s, separated by |.
func all(t testing.TB, pattern, s string) string {
	t.Helper()
	re, err := Compile(pattern)
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	var found []string
	re.All(s, func(start, end int) { found = append(found, s[start:end]) })
	return strings.Join(found, "|")
}

// The matches are those of Oniguruma 6.9 in tokenizers 0.23.3, by Split with the behavior
// Removed and invert.
func TestMatches(t *testing.T) {
	for _, c := range []struct{ pattern, text, want string }{
		{`\p{N}{1,3}`, "a1234 ٣٤²", "123|4|٣٤²"},
		{`\p{^L}|\P{N}`, "a1", "a|1"},
		{`[^\s\p{L}]+`, "ab 12,é!", "12,|!"},
		{`(?i:'s|'ll)|x`, "'S 'lL 'ſ X x", "'S|'lL|'ſ|x"},
		{`(?i)k`, "kK\u212a", "k|K|\u212a"},
		{`a++a|a`, "aaab", "a|a|a"},
		{`a?+a`, "aa a", "aa"},
		{`(?>a+b?)b|ab`, "aabb ab", "aabb|ab"},
		{`\s+(?!\S)|\s`, "a   b  ", "  | |  "},
		{`(?<=a)b|(?<!a)c`, "ab bb ac bc", "b|c"},
		{`(?<=ab|x)c`, "abc xc bc", "c|c"},
		{`\d{1,3}(?=(?:\d{3})*\b)`, "1234567 12a", "1|234|567"},
		{`a.c|a(?m:.)d`, "abc a\nc a\nd", "abc|a\nd"},
		{`^b|b$`, "b ab\nb", "b|b|b"},
		{`\Ab|b\z`, "b b b", "b|b"},
		{`\bfoo\b`, "foo foofoo foo.", "foo|foo"},
		{`[a-c&&[^b]]+`, "aabbcc", "aa|cc"},
		{`[[:alpha:]]+|[[:^alpha:]]`, "ab1", "ab|1"},
		{`[\[\]\\-]+`, `a[]\-b`, `[]\-`},
		{`[]a]+`, "]a", "]a"},
		{`\x41\x{1F600}\u00e9`, "A\U0001F600é", "A\U0001F600é"},
		{`x{,2}y|x{2,}`, "xxxy xxx", "xxx|y|xxx"},
		{`x{2}+|{`, "xxxxx{", "xxxx|{"},
		{`a+?b|a{1,2}?`, "aab aa", "aab|a|a"},
		{`(?:ab?)*c|(?<n>ab)`, "ababac ab", "ababac|ab"},
		{`(?:[a-z]+ ?)+[.]`, "ab cd. ef", "ab cd."},
		{`\p{Han}+|\p{Lu}\p{Ll}`, "漢字かAb", "漢字|Ab"},
		{`[一-龥぀-ゟ゠-ヿ]+`, "a漢カb", "漢カ"},
		{`\h+`, "xyz1F", "1F"},
		{``, "ab", "||"},
		{`(?=b)`, "abab", "|"},
	} {
		if got := all(t, c.pattern, c.text); got != c.want {
			t.Errorf("%s in %q: %q, want %q", c.pattern, c.text, got, c.want)
		}
	}
}

func TestRefuses(t *testing.T) {
	for pattern, want := range map[string]string{
		`a)`: "a ) without its (", `(a`: "a ( without its )", `[a`: "a [ without its ]", `*`: "* repeats nothing", `(a)\1`: `\1`,
		`\p{Nope}`: `property "Nope"`, `\p`: "a property without a name", `(?x:a)`: `option or group 'x'`,
		`(?:a*)*`: "a group that can match nothing", `(?<=a+)b`: "a look-behind without a fixed length", `a{2000}`: "a repetition from 2000",
		`[b-a]`: "an empty range", `\`: `a \ at the end`, `(?:(?:a|bc){99}){99}`: "more than 128", `\G`: `\G`, `(?=a)*`: "a repeated assertion",
		`\x{110000}`: "is not a character", "\xff": "not UTF-8", `a{3}?`: "{n}?", `[[:nope:]]`: `class "nope"`, `(?<n`: "without a name",
		strings.Repeat("(", 99): "nested groups", strings.Repeat("[", 99): "nested classes", strings.Repeat("a", maxPattern+1): "want at most 8192",
	} {
		if _, err := Compile(pattern); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", pattern, err, want)
		}
	}
}

// hostile lists patterns for which backtracking takes more than linear time in a text of
// the letter a.
var hostile = []string{`(?:a|a)*b`, `.*b`, `(?:a+a+)+b`, `(?>a*)b`, `(?=.*b)a`, `a(?=a*)`, `a(?!a*b)`, `.*?b`, `(?:a*a*)b`, `a(?=(?:a|aa)*)`,
	`(?:a|aa)+?b`, `a*a*a*a*b`, `(?:aaa)*b`, `a{1,1024}b`, `(?<=a)a*b`, `a++b`, `(?:(?:a|b)*c)*d`, `a(?>(?:a|aa)*)c`}

func TestHostilePatterns(t *testing.T) {
	text := strings.Repeat("a", 20000) // quadratic time would take minutes for some, on a busy machine too
	for _, pattern := range hostile {
		start := time.Now()
		all(t, pattern, text)
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s takes %v", pattern, d)
		}
	}
}

// Recording failed states changes no match.
func TestRecordedStates(t *testing.T) {
	texts := []string{"", "a", "aab", "abab aab", "aaaa bbbb", "abcabcabd", strings.Repeat("ab ", 20) + "c"}
	more := []string{`(?:a|ab)(?:c|bcd|b)?`, `a*?b|a`, `(?>a|ab)(?:b|c)?`, `(?=(?:a|b)*c)a|b`, `(?!a*b )[ab]+`, `(?:ab|a)*b?`, `(?:a+|b+?)+ `, `(?<=b)a+|(?<!a)b`}
	for _, pattern := range append(more, hostile...) {
		re, err := Compile(pattern)
		if err != nil {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, s := range texts {
			matches := func(steps int) (found []span) {
				m := re.machines.Get().(*machine)
				m.load(s)
				m.steps = steps
				for at := 0; at <= len(s); {
					start, end := m.find(at)
					if start < 0 {
						break
					}
					found = append(found, span{start, end})
					at = max(end, start+1)
				}
				return found
			}
			want := matches(1 << 30)
			for _, steps := range []int{0, 1, 5, 17} {
				if got := matches(steps); !slices.Equal(got, want) {
					t.Fatalf("%s in %q after %d steps: %v, want %v", pattern, s, steps, got, want)
				}
			}
		}
	}
}

// Every category and every character of one, of the properties by hand.
func TestProperties(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string
		out  string
	}{
		{"L", "aé漢ʰ", "1 _"}, {"Lu", "AÉ", "aé漢"}, {"uppercase letter", "A", "a"}, {"Nd", "1٣", "²"}, {"P", "!_«", "+$"}, {"S", "+$^", "!"}, {"Zs", " \u00a0", "\t"},
		{"Cn", "\u0378", "a"}, {"Word", "a1_\u0301", "-"}, {"Space", " \t\u3000", "a\u200b"}, {"punct", "!+", "a"}, {"Hiragana", "あ", "ア"}, {"Any", "a", ""},
		{"C", "\x00\u0378\ue000", "a"},
	} {
		spans, ok := property(c.name)
		if !ok {
			t.Fatalf("there is no property %s", c.name)
		}
		s := newSet(spans)
		for _, r := range c.in {
			if !s.has(r) {
				t.Errorf("%U is not %s", r, c.name)
			}
		}
		for _, r := range c.out {
			if s.has(r) {
				t.Errorf("%U is %s", r, c.name)
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, pattern := range hostile {
		f.Add(pattern, "aab")
	}
	f.Add(`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}]*[\p{Ll}]+(?i:'s)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+(?!\S)`, "Ab 12")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		re, err := Compile(pattern)
		if err != nil {
			return
		}
		last := 0
		re.All(s, func(start, end int) {
			if start < last || end < start || end > len(s) {
				t.Fatalf("match %d to %d after %d", start, end, last)
			}
			last = end
		})
	})
}

func BenchmarkAll(b *testing.B) {
	text := strings.Repeat("The quick brown fox, 1234 times; jumps over 2 lazy dogs!\n  And then some déjà vu.\n", 1000)
	re, err := Compile(`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		n := 0
		re.All(text, func(int, int) { n++ })
		if n == 0 {
			b.Fatal("no match")
		}
	}
}
