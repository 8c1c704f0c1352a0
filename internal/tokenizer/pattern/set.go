package pattern

import (
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// A span is a range of characters or of offsets, both ends included for characters.
type span struct{ lo, hi int }

// A set is a class of characters.
type set struct {
	spans []span // ascending, not adjacent
	basic [1 << 16 / 64]uint64
}

func newSet(spans []span) *set {
	s := &set{spans: spans}
	for _, r := range spans {
		for c := r.lo; c <= min(r.hi, 1<<16-1); c++ {
			s.basic[c/64] |= 1 << (c % 64)
		}
	}
	return s
}

func (s *set) has(r rune) bool {
	if r < 1<<16 {
		return s.basic[r/64]>>(r%64)&1 != 0
	}
	lo, hi := 0, len(s.spans)
	for lo < hi {
		if mid := (lo + hi) / 2; s.spans[mid].hi < int(r) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.spans) && s.spans[lo].lo <= int(r)
}

// next returns the length of the first character of s if it is in the set, otherwise 0. An
// invalid byte counts as U+FFFD.
func (s *set) next(text string, at int) int {
	if at >= len(text) {
		return 0
	}
	if c := text[at]; c < utf8.RuneSelf {
		return int(s.basic[c/64] >> (c % 64) & 1)
	}
	r, n := utf8.DecodeRuneInString(text[at:])
	if s.has(r) {
		return n
	}
	return 0
}

// width returns the length of the character at an offset, at least 1.
func width(s string, at int) int {
	_, n := utf8.DecodeRuneInString(s[at:])
	return max(n, 1)
}

// joined returns the union of spans in ascending order.
func joined(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.lo - b.lo })
	var out []span
	for _, r := range spans {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// except returns the characters that are not in spans, which are joined.
func except(spans []span) []span {
	var out []span
	next := 0
	for _, r := range spans {
		if next < r.lo {
			out = append(out, span{next, r.lo - 1})
		}
		next = r.hi + 1
	}
	if next <= unicode.MaxRune {
		out = append(out, span{next, unicode.MaxRune})
	}
	return out
}

// both returns the characters in a and in b, which are joined.
func both(a, b []span) []span { return except(joined(append(except(a), except(b)...))) }

// folding lists the characters that have another case.
var folding = sync.OnceValue(func() (all []rune) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if unicode.SimpleFold(r) != r {
			all = append(all, r)
		}
	}
	return all
})

// folded returns spans, which are joined, with the other cases of their characters.
func folded(spans []span) []span {
	out := slices.Clone(spans)
	at := 0
	for _, r := range folding() {
		for at < len(spans) && spans[at].hi < int(r) {
			at++
		}
		if at == len(spans) {
			break
		}
		if spans[at].lo <= int(r) {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				out = append(out, span{int(f), int(f)})
			}
		}
	}
	return joined(out)
}

// category returns the characters of a general category, such as Lu, or of a group of
// them, such as L.
func category(name string) (spans []span) {
	var all []span
	for _, r := range assigned {
		all = append(all, span{int(r.lo), int(r.hi)})
		if strings.HasPrefix(names[r.category], name) {
			spans = append(spans, span{int(r.lo), int(r.hi)})
		}
	}
	if strings.HasPrefix(names[unlisted], name) {
		spans = append(spans, except(joined(all))...)
	}
	return joined(spans)
}

func alphabetic() []span { return joined(append(union("L", "Nl"), alphaMore...)) }

func words() []span { return joined(append(union("L", "M", "Nd", "Pc"), wordMore...)) }

func spaces() []span { return slices.Clone(white) }

// union returns the characters of several categories.
func union(names ...string) (spans []span) {
	for _, name := range names {
		spans = append(spans, category(name)...)
	}
	return joined(spans)
}

// property returns the characters of a property. Its name is compared as Oniguruma does:
// without case, spaces, hyphens and underscores.
func property(name string) ([]span, bool) {
	key := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' || r == '_' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	switch key {
	case "any":
		return []span{{0, unicode.MaxRune}}, true
	case "assigned":
		return except(category("Cn")), true
	case "alpha", "alphabetic":
		return alphabetic(), true
	case "word", "w":
		return words(), true
	case "alnum":
		return joined(append(alphabetic(), category("Nd")...)), true
	case "space", "whitespace":
		return spaces(), true
	case "digit":
		return category("Nd"), true
	case "upper":
		return union("Lu"), true
	case "lower":
		return union("Ll"), true
	case "punct":
		return joined(append(category("P"), symbols...)), true
	case "cntrl":
		return category("Cc"), true
	case "ascii":
		return []span{{0, 127}}, true
	}
	if long, ok := longNames[key]; ok {
		return category(long), true
	}
	for _, short := range names {
		if key == strings.ToLower(short) || key == strings.ToLower(short[:1]) {
			return category(short[:len(key)]), true
		}
	}
	for _, s := range scripts {
		if key == strings.ToLower(s.name) {
			return slices.Clone(s.spans), true
		}
	}
	return nil, false
}

// longNames maps the long names of categories, as property normalizes them.
var longNames = map[string]string{
	"letter": "L", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt", "modifierletter": "Lm", "otherletter": "Lo",
	"mark": "M", "nonspacingmark": "Mn", "spacingmark": "Mc", "enclosingmark": "Me",
	"number": "N", "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No",
	"punctuation": "P", "connectorpunctuation": "Pc", "dashpunctuation": "Pd", "openpunctuation": "Ps", "closepunctuation": "Pe",
	"initialpunctuation": "Pi", "finalpunctuation": "Pf", "otherpunctuation": "Po",
	"symbol": "S", "mathsymbol": "Sm", "currencysymbol": "Sc", "modifiersymbol": "Sk", "othersymbol": "So",
	"separator": "Z", "spaceseparator": "Zs", "lineseparator": "Zl", "paragraphseparator": "Zp",
	"other": "C", "control": "Cc", "format": "Cf", "surrogate": "Cs", "privateuse": "Co", "unassigned": "Cn",
}

// symbols are the ASCII symbols that [[:punct:]] has besides the category P.
var symbols = []span{{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'}, {'`', '`'}, {'|', '|'}, {'~', '~'}}

// wordSet is \w.
var wordSet = sync.OnceValue(func() *set { return newSet(words()) })
