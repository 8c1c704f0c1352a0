package chat

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/internal/defect"
)

// literalText rewrites a template so that white space outside of its tags no longer
// matters: it turns all text into literals, {{ "text" }}. It strips white space itself,
// as Jinja2's lexer does with trim_blocks and lstrip_blocks (lexer.py, Lexer.tokeniter),
// because the library strips too much: of "a {{ x }}{%- if y %}" it also strips the space
// before {{ x }}.
func literalText(source string) (string, error) {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	s := &scanner{source: strings.TrimSuffix(source, "\n"), lineStart: true}
	for s.at < len(s.source) {
		if err := s.tag(); err != nil {
			line := 1 + strings.Count(s.source[:s.at], "\n")
			return "", fmt.Errorf("line %d: %w", line, err)
		}
	}
	return s.out.String(), nil
}

type scanner struct {
	source    string
	at        int  // offset of the next byte
	lineStart bool // whether at is known to be the start of a line
	out       strings.Builder
	lines     int // number of line breaks in out
}

// limitedSplit matches a call of split with a limit, which the library ignores.
var limitedSplit = regexp.MustCompile(`\.\s*split\s*\(\s*(?:'[^']*'|"[^"]*"|[\w.]+)\s*,`)

var (
	opening = regexp.MustCompile(`\{[%{#][-+]?`)
	rawTag  = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?)%\}`)
	endRaw  = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)
)

// tag reads text and the tag after it, or the rest of the text.
func (s *scanner) tag() error {
	found := opening.FindStringIndex(s.source[s.at:])
	if found == nil {
		s.text(s.source[s.at:])
		s.at = len(s.source)
		return nil
	}
	text, open := s.source[s.at:s.at+found[0]], s.source[s.at+found[0]:s.at+found[1]]
	s.text(s.stripBefore(text, open))
	start := s.at + found[0]
	s.at += found[1]
	switch open[1] {
	case '#':
		end := strings.Index(s.source[s.at:], "#}")
		if end < 0 {
			return fmt.Errorf("a comment is not closed")
		}
		sign := byte(0)
		if end > 0 {
			sign = s.source[s.at+end-1]
		}
		s.at += end + 2
		s.stripAfter(sign, true)
		return nil
	case '%':
		if m := rawTag.FindStringSubmatch(s.source[start:]); m != nil {
			s.at = start + len(m[0])
			return s.raw(m[1])
		}
	}
	return s.code(open[1])
}

// raw reads the text after {% raw %}, up to and including {% endraw %}.
func (s *scanner) raw(sign string) error {
	s.lineStart = false
	if sign == "-" {
		s.stripAfter('-', true)
	}
	m := endRaw.FindStringSubmatchIndex(s.source[s.at:])
	if m == nil {
		return fmt.Errorf("a raw block is not closed")
	}
	rest := s.source[s.at:]
	s.text(s.stripBefore(rest[:m[0]], "{%"+rest[m[2]:m[3]]))
	s.at += m[1]
	closing := byte(0)
	if m[4] < m[5] {
		closing = rest[m[4]]
	}
	s.stripAfter(closing, true)
	return nil
}

// stripBefore returns text without the white space that the following tag strips. open is
// the start of that tag.
func (s *scanner) stripBefore(text, open string) string {
	switch {
	case strings.HasSuffix(open, "-"):
		return strings.TrimRightFunc(text, unicode.IsSpace)
	case strings.HasSuffix(open, "+") || open[1] == '{':
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || s.lineStart) && strings.TrimFunc(text[line:], unicode.IsSpace) == "" {
		return text[:line]
	}
	return text
}

// stripAfter skips the white space that the preceding tag strips. sign is the character
// before the end of that tag.
func (s *scanner) stripAfter(sign byte, block bool) {
	rest := s.source[s.at:]
	left := rest
	switch {
	case sign == '-':
		left = strings.TrimLeftFunc(rest, unicode.IsSpace)
	case sign != '+' && block:
		left = strings.TrimPrefix(rest, "\n")
	}
	n := len(rest) - len(left)
	s.lineStart = n > 0 && rest[n-1] == '\n'
	s.at += n
}

// code copies a tag up to its end. It replaces escapes in strings and separates closing
// braces, because the library supports fewer escapes and takes any }} for the end.
func (s *scanner) code(kind byte) error {
	end, from := map[byte]string{'{': "}}", '%': "%}"}[kind], s.at
	if breaks := strings.Count(s.source[:s.at], "\n") - s.lines; breaks > 0 { // keeps line numbers in errors
		s.write("{#" + strings.Repeat("\n", breaks) + "#}")
	}
	s.write("{" + string(kind) + " ")
	for depth := 0; s.at < len(s.source); {
		rest := s.source[s.at:]
		signed := rest[0] == '-' || rest[0] == '+' && kind == '%'
		if depth == 0 && (strings.HasPrefix(rest, end) || signed && strings.HasPrefix(rest[1:], end)) {
			if found := limitedSplit.FindString(s.source[from:s.at]); found != "" {
				return defect.Unsupported(defect.Printable(found), "a split with a limit")
			}
			sign := byte(0)
			if signed {
				sign = rest[0]
				s.at++
			}
			s.at += len(end)
			s.write(" " + end)
			s.stripAfter(sign, kind == '%')
			return nil
		}
		switch c := rest[0]; c {
		case '"', '\'':
			text, n, err := unquote(rest)
			if err != nil {
				return err
			}
			s.write(quote(text))
			s.at += n
			continue
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
			s.write(" ")
		}
		s.write(rest[:1])
		s.at++
	}
	return fmt.Errorf("a tag is not closed")
}

// text writes text as a literal.
func (s *scanner) text(text string) {
	if text != "" {
		s.write("{{ " + quote(text) + " }}")
	}
}

func (s *scanner) write(text string) {
	s.out.WriteString(text)
	s.lines += strings.Count(text, "\n")
}

// quote returns a string literal in the library's syntax.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// escapes maps the characters of Python's string escapes without digits to their texts.
var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\\': `\`, '\'': "'", '"': `"`, '\n': "",
}

// unquote decodes the string literal at the start of s, which is n bytes long.
func unquote(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == s[0]:
			return b.String(), i + 1, nil
		case c != '\\' || i+1 == len(s):
			b.WriteByte(c)
			continue
		}
		i++
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]]
		text, known := escapes[s[i]]
		switch {
		case digits > 0:
			end := min(len(s), i+1+digits)
			r, err := strconv.ParseUint(s[i+1:end], 16, 32)
			if err != nil || end-i-1 < digits || !utf8.ValidRune(rune(r)) {
				return "", 0, fmt.Errorf("%q is not a valid character", s[i-1:end])
			}
			b.WriteRune(rune(r))
			i += digits
		case known:
			b.WriteString(text)
		case s[i] >= '0' && s[i] <= '7' || s[i] == 'N':
			return "", 0, fmt.Errorf(`the escape \%c is not supported`, s[i])
		default:
			b.WriteString(s[i-1 : i+1])
		}
	}
	return "", 0, fmt.Errorf("a string is not closed")
}
