package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"thimble/internal/tokenizer/class"

	"golang.org/x/text/unicode/norm"
)

// A normalizer changes the text between added tokens before it is cut into pieces.
type normalizer func(s string) string

// newNormalizer returns a normalizer that applies the rules in order, or nil if there are
// none.
func newNormalizer(rules []Rule) (normalizer, error) {
	var steps []normalizer
	for _, r := range rules {
		step, err := r.normalizer()
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	if len(steps) == 0 {
		return nil, nil
	}
	return func(s string) string {
		for _, step := range steps {
			s = step(s)
		}
		return s
	}, nil
}

// A form is a Unicode normalization form (UAX #15) restricted to the characters of
// Unicode 9, as in Hugging Face. It leaves later characters unchanged, and no mark moves
// past them. A newer table can supply the properties, because those of existing
// characters never change.
type form struct {
	decompose norm.Form
	compose   bool
	normal    norm.Form // the same form without the restriction
}

var forms = map[Op]form{
	OpNFC:  {norm.NFD, true, norm.NFC},
	OpNFD:  {norm.NFD, false, norm.NFD},
	OpNFKC: {norm.NFKD, true, norm.NFKC},
	OpNFKD: {norm.NFKD, false, norm.NFKD},
}

// normalize normalizes s one segment at a time. A segment begins with an ASCII character,
// which never composes with a preceding one.
func (f form) normalize(s string) string {
	if f.normal.QuickSpanString(s) == len(s) {
		return s // normalized with all characters, so also with fewer
	}
	var b strings.Builder
	b.Grow(len(s) + len(s)/8)
	var scratch []rune
	for s != "" {
		n := 1
		for n < len(s) && s[n] >= utf8.RuneSelf {
			n++
		}
		if n == 1 && s[0] < utf8.RuneSelf || f.normal.QuickSpanString(s[:n]) == n || !utf8.ValidString(s[:n]) {
			b.WriteString(s[:n])
		} else {
			scratch = f.appendSegment(scratch[:0], s[:n])
			for _, r := range scratch {
				b.WriteRune(r)
			}
		}
		s = s[n:]
	}
	return b.String()
}

// appendSegment appends the characters of s after normalization: it decomposes them, sorts
// marks by combining class, and composes them.
func (f form) appendSegment(dst []rune, s string) []rune {
	for _, r := range s {
		if class.Of(r)&class.Active == 0 {
			dst = append(dst, r)
			continue
		}
		for _, r := range f.decompose.String(string(r)) {
			dst = append(dst, r)
		}
	}
	for i := 0; i < len(dst); {
		n := i + 1
		if combining(dst[i]) > 0 {
			for n < len(dst) && combining(dst[n]) > 0 {
				n++
			}
			slices.SortStableFunc(dst[i:n], func(a, b rune) int { return int(combining(a)) - int(combining(b)) })
		}
		i = n
	}
	if f.compose {
		return compose(dst)
	}
	return dst
}

// combining returns the canonical combining class of r.
func combining(r rune) uint8 {
	if class.Of(r)&class.Active == 0 {
		return 0
	}
	return norm.NFD.PropertiesString(string(r)).CCC()
}

// compose composes each character with the last starter, unless a character of the same
// or a higher class is between them (UAX #15, D117).
func compose(text []rune) []rune {
	starter, out := -1, text[:0]
	last := -1 // class of the preceding character, or -1 right after the starter
	for _, r := range text {
		order := int(combining(r))
		if starter >= 0 && last < order {
			if composed, ok := composePair(out[starter], r); ok {
				out[starter] = composed
				continue
			}
		}
		if order == 0 {
			starter, last = len(out), -1
		} else {
			last = order
		}
		out = append(out, r)
	}
	return out
}

// composePair returns the character that a and b compose to, if any.
func composePair(a, b rune) (rune, bool) {
	s := norm.NFC.String(string([]rune{a, b}))
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s) && class.Of(r)&class.Active != 0
}
