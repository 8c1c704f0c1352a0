package tokenizer

import (
	"encoding/base64"
	"strings"
	"unicode"

	"github.com/rivo/uniseg"

	"thimble/internal/defect"
	"thimble/internal/tokenizer/class"
	"thimble/internal/tokenizer/pattern"
)

// normalizer returns the function of one rule.
func (r Rule) normalizer() (normalizer, error) {
	switch r.Op {
	case OpPrepend:
		return func(s string) string {
			if s == "" {
				return ""
			}
			return r.New + s
		}, nil
	case OpReplace:
		return func(s string) string { return strings.ReplaceAll(s, r.Old, r.New) }, nil
	case OpReplacePattern:
		re, err := pattern.Compile(r.Old)
		if err != nil {
			return nil, defect.Unsupported("tokenizer", "pattern %s (%s)", defect.Printable(r.Old), err)
		}
		return func(s string) string { return replaceAll(re, s, r.New) }, nil
	case OpLower:
		return lower, nil
	case OpAccents:
		return func(s string) string { return dropped(s, class.Accent) }, nil
	case OpClean:
		return clean, nil
	case OpIdeographs:
		return spaceIdeographs, nil
	case OpMarks:
		return func(s string) string { return dropped(forms[OpNFD].normalize(s), class.Nonspacing) }, nil
	case OpTrimStart:
		return func(s string) string { return s[class.Run(s, class.Space, class.Space):] }, nil
	case OpTrimEnd:
		return func(s string) string { return s[:trimmed(s)] }, nil
	case OpCharsmap:
		return graphemeCharsmap(r.Old)
	}
	return forms[r.Op].normalize, nil
}

// dropped returns s without the characters of a class.
func dropped(s string, set class.Set) string {
	return strings.Map(func(r rune) rune {
		if class.Of(r)&set != 0 {
			return -1
		}
		return r
	}, s)
}

// clean is clean_text of BertNormalizer.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch c := class.Of(r); {
		case c&class.Control != 0:
			return -1
		case c&class.Space != 0:
			return ' '
		}
		return r
	}, s)
}

// ideographs lists the ranges that BertNormalizer takes for Chinese.
var ideographs = []struct{ lo, hi rune }{
	{0x3400, 0x4dbf}, {0x4e00, 0x9fff}, {0xf900, 0xfaff}, {0x20000, 0x2a6df}, {0x2a700, 0x2b81f}, {0x2b920, 0x2ceaf}, {0x2f800, 0x2fa1f},
}

// spaceIdeographs is handle_chinese_chars of BertNormalizer.
func spaceIdeographs(s string) string {
	var b strings.Builder
	for _, r := range s {
		in := false
		for _, c := range ideographs {
			in = in || r >= c.lo && r <= c.hi
		}
		if in {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		if in {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func replaceAll(re *pattern.Regexp, s, by string) string {
	var b strings.Builder
	done := 0
	re.All(s, func(start, end int) {
		b.WriteString(s[done:start])
		b.WriteString(by)
		done = end
	})
	if done == 0 && b.Len() == 0 {
		return s
	}
	b.WriteString(s[done:])
	return b.String()
}

// newerCases lists capital letters that Rust knows and Unicode 15, Go's version, does not:
// ranges whose small letters are at a distance.
var newerCases = []struct{ lo, hi, distance rune }{
	{0x1c89, 0x1c89, 1}, {0xa7cb, 0xa7cb, 0x264 - 0xa7cb}, {0xa7cc, 0xa7cc, 1}, {0xa7ce, 0xa7ce, 1}, {0xa7d2, 0xa7d2, 1}, {0xa7d4, 0xa7d4, 1},
	{0xa7da, 0xa7da, 1}, {0xa7dc, 0xa7dc, 0x19b - 0xa7dc}, {0x10d50, 0x10d65, 32}, {0x16ea0, 0x16eb8, 27},
}

// lower maps each character to lower case, as Rust's char::to_lowercase: only U+0130 becomes
// two characters.
func lower(s string) string {
	return strings.ReplaceAll(strings.Map(func(r rune) rune {
		if r == 0x130 {
			return r
		}
		for _, c := range newerCases {
			if r >= c.lo && r <= c.hi {
				return r + c.distance
			}
		}
		return unicode.ToLower(r)
	}, s), "\u0130", "i\u0307")
}

// graphemeCharsmap returns the normalizer Precompiled of Hugging Face. It looks up each
// grapheme of less than 6 bytes and otherwise each character, and takes the shortest text of
// the map that begins there for all of it (spm_precompiled, Precompiled.normalize_string).
func graphemeCharsmap(encoded string) (normalizer, error) {
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, corrupt("charsmap", "not in base64")
	}
	m, err := newCharsmap(b)
	if err != nil {
		return nil, err
	}
	return func(s string) string {
		if m == nil {
			return s
		}
		var b strings.Builder
		for s != "" {
			grapheme, rest, _, _ := uniseg.FirstGraphemeClusterInString(s, -1)
			s = rest
			if len(grapheme) < 6 {
				if text, ok := m.shortest(grapheme); ok {
					b.Write(text)
					continue
				}
			}
			for _, r := range grapheme {
				if text, ok := m.shortest(string(r)); ok {
					b.Write(text)
				} else {
					b.WriteRune(r)
				}
			}
		}
		return b.String()
	}, nil
}
