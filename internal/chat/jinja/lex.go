package jinja

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/internal/chat/python"
)

type kind uint8

const (
	end        kind = iota // of the template
	data                   // text outside of tags
	printStart             // {{
	printEnd               // }}
	tagStart               // {%
	tagEnd                 // %}
	name
	text    // a string literal, decoded
	number  // an integer or float, in value
	special // an operator or bracket
)

type token struct {
	kind  kind
	text  string
	value python.Value // of a number
	line  int
}

// A lexer divides a template into tokens, as Jinja2's lexer does (lexer.py,
// Lexer.tokeniter), with trim_blocks and lstrip_blocks.
type lexer struct {
	source    string
	at        int  // offset of the next byte
	lineStart bool // whether at is known to be the start of a line
	counted   int  // offset up to which line is counted
	line      int
	tokens    []token
}

var (
	opening = regexp.MustCompile(`\{[%{#][-+]?`)
	rawTag  = regexp.MustCompile(`^\{%[-+]?\s*raw\s*(-?)%\}`)
	endRaw  = regexp.MustCompile(`\{%([-+]?)\s*endraw\s*([-+]?)%\}`)

	// Python has no underscore after the point of a float in some places; it is the same value.
	floatToken    = regexp.MustCompile(`^\d+(?:_\d+)*(?:(?:\.\d+(?:_\d+)*)?[eE][+-]?\d+(?:_\d+)*|\.\d+(?:_\d+)*)`)
	integerToken  = regexp.MustCompile(`^(?i:0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[\da-f])+|[1-9](?:_?\d)*|0(?:_?0)*)`)
	operatorToken = regexp.MustCompile(`^(?://|\*\*|==|!=|>=|<=|[-+/*%~\[\](){}><=.:|,;])`)
)

func lex(source string) ([]token, error) {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	l := &lexer{source: strings.TrimSuffix(source, "\n"), lineStart: true, line: 1}
	for l.at < len(l.source) {
		if err := l.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.lineOf(l.at), err)
		}
	}
	l.add(token{kind: end})
	return l.tokens, nil
}

// lineOf returns the line of an offset that is not before the last one.
func (l *lexer) lineOf(at int) int {
	at = min(at, len(l.source))
	if at > l.counted {
		l.line += strings.Count(l.source[l.counted:at], "\n")
		l.counted = at
	}
	return l.line
}

func (l *lexer) add(t token) {
	t.line = l.lineOf(l.at)
	l.tokens = append(l.tokens, t)
}

func (l *lexer) data(s string) {
	if s != "" {
		l.add(token{kind: data, text: s})
	}
}

// Next reads text and the tag after it, or the rest of the text.
func (l *lexer) next() error {
	rest := l.source[l.at:]
	found := opening.FindStringIndex(rest)
	if found == nil {
		l.data(rest)
		l.at = len(l.source)
		return nil
	}
	before, open := rest[:found[0]], rest[found[0]:found[1]]
	l.data(l.stripBefore(before, open))
	start := l.at + found[0]
	l.at = start
	switch open[1] {
	case '#':
		l.at += len(open)
		close := strings.Index(l.source[l.at:], "#}")
		if close < 0 {
			return fmt.Errorf("a comment is not closed")
		}
		sign := byte(0)
		if close > 0 {
			sign = l.source[l.at+close-1]
		}
		l.at += close + 2
		l.stripAfter(sign, true)
		return nil
	case '%':
		if m := rawTag.FindStringSubmatch(l.source[start:]); m != nil {
			l.at += len(m[0])
			return l.raw(m[1])
		}
		l.add(token{kind: tagStart})
		l.at += len(open)
		return l.code("%}", tagEnd)
	}
	l.add(token{kind: printStart})
	l.at += len(open)
	return l.code("}}", printEnd)
}

// raw reads the text after {% raw %}, up to and including {% endraw %}.
func (l *lexer) raw(sign string) error {
	l.lineStart = false
	if sign == "-" {
		l.stripAfter('-', true)
	}
	rest := l.source[l.at:]
	m := endRaw.FindStringSubmatchIndex(rest)
	if m == nil {
		return fmt.Errorf("a raw block is not closed")
	}
	l.data(l.stripBefore(rest[:m[0]], "{%"+rest[m[2]:m[3]]))
	l.at += m[1]
	closing := byte(0)
	if m[4] < m[5] {
		closing = rest[m[4]]
	}
	l.stripAfter(closing, true)
	return nil
}

// stripBefore returns text without the white space that the following tag strips. open is
// the start of that tag.
func (l *lexer) stripBefore(text, open string) string {
	switch {
	case strings.HasSuffix(open, "-"):
		return strings.TrimRightFunc(text, python.IsSpace)
	case strings.HasSuffix(open, "+") || open[1] == '{':
		return text
	}
	line := strings.LastIndexByte(text, '\n') + 1
	if (line > 0 || l.lineStart) && python.TrimSpace(text[line:]) == "" {
		return text[:line]
	}
	return text
}

// stripAfter skips the white space that the preceding tag strips. sign is the character
// before the end of that tag.
func (l *lexer) stripAfter(sign byte, block bool) {
	rest := l.source[l.at:]
	left := rest
	switch {
	case sign == '-':
		left = strings.TrimLeftFunc(rest, python.IsSpace)
	case sign != '+' && block:
		left = strings.TrimPrefix(rest, "\n")
	}
	n := len(rest) - len(left)
	l.lineStart = n > 0 && rest[n-1] == '\n'
	l.at += n
}

// code reads the tokens of a tag up to its end, which closes only outside of brackets.
func (l *lexer) code(close string, closed kind) error {
	var brackets []byte // those that will close
	for l.at < len(l.source) {
		rest := l.source[l.at:]
		signed := rest[0] == '-' || rest[0] == '+' && closed == tagEnd
		if len(brackets) == 0 && (strings.HasPrefix(rest, close) || signed && strings.HasPrefix(rest[1:], close)) {
			l.add(token{kind: closed})
			sign := byte(0)
			if signed {
				sign = rest[0]
				l.at++
			}
			l.at += len(close)
			l.stripAfter(sign, closed == tagEnd)
			return nil
		}
		n, err := l.token(rest)
		if err != nil {
			return err
		}
		switch c := rest[0]; c {
		case '(':
			brackets = append(brackets, ')')
		case '[', '{':
			brackets = append(brackets, c+2)
		case ')', ']', '}':
			if len(brackets) == 0 || brackets[len(brackets)-1] != c {
				return fmt.Errorf("unexpected '%c'", c)
			}
			brackets = brackets[:len(brackets)-1]
		}
		l.at += n
	}
	return fmt.Errorf("a tag is not closed")
}

// token reads the token at the start of rest, which is n bytes long.
func (l *lexer) token(rest string) (n int, err error) {
	c, size := utf8.DecodeRuneInString(rest)
	switch {
	case python.IsSpace(c):
		return size, nil
	case c == '"' || c == '\'':
		s, n, err := unquote(rest)
		if err == nil {
			l.add(token{kind: text, text: s})
		}
		return n, err
	case '0' <= c && c <= '9':
		if s := floatToken.FindString(rest); s != "" && !strings.HasSuffix(l.source[:l.at], ".") {
			f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
			if err != nil && f == 0 {
				return 0, err
			}
			l.add(token{kind: number, text: s, value: f})
			return len(s), nil
		}
		s := integerToken.FindString(rest)
		digits := strings.ReplaceAll(s, "_", "")
		i, ok := new(big.Int), len(s) < python.MaxBits/3
		if ok {
			i, ok = i.SetString(digits, 0)
		}
		if !ok {
			return 0, python.ErrInteger
		}
		v, err := python.Integer(i)
		l.add(token{kind: number, text: s, value: v})
		return len(s), err
	case c == '_' || unicode.IsLetter(c):
		n := strings.IndexFunc(rest, func(c rune) bool {
			return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.IsMark(c)
		})
		if n < 0 {
			n = len(rest)
		}
		l.add(token{kind: name, text: rest[:n]})
		return n, nil
	}
	s := operatorToken.FindString(rest)
	if s == "" {
		return 0, fmt.Errorf("unexpected character %q", c)
	}
	l.add(token{kind: special, text: s})
	return len(s), nil
}

// escapes maps the characters of Python's string escapes without digits to their texts.
var escapes = map[byte]string{
	'n': "\n", 't': "\t", 'r': "\r", 'a': "\a", 'b': "\b", 'f': "\f", 'v': "\v", '\\': `\`, '\'': "'", '"': `"`, '\n': "",
}

// unquote decodes the string literal at the start of s, which is n bytes long.
func unquote(s string) (decoded string, n int, err error) {
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
		plain, known := escapes[s[i]]
		switch c, size := utf8.DecodeRuneInString(s[i:]); {
		case digits > 0:
			last := min(len(s), i+1+digits)
			r, err := strconv.ParseUint(s[i+1:last], 16, 32)
			if err != nil || last-i-1 < digits || !utf8.ValidRune(rune(r)) {
				return "", 0, fmt.Errorf("%q is not a valid character", s[i-1:last])
			}
			b.WriteRune(rune(r))
			i += digits
		case known:
			b.WriteString(plain)
		case s[i] >= '0' && s[i] <= '7':
			last := i + 1
			for last < min(len(s), i+3) && s[last] >= '0' && s[last] <= '7' {
				last++
			}
			r, _ := strconv.ParseUint(s[i:last], 8, 32)
			b.WriteRune(rune(r))
			i = last - 1
		case s[i] == 'N':
			return "", 0, fmt.Errorf(`the escape \N is not supported`)
		case size > 1: // Jinja2 escapes the character before it looks at the backslash
			b.WriteString(python.EscapeRune(c))
			i += size - 1
		default:
			b.WriteString(s[i-1 : i+1])
		}
	}
	return "", 0, fmt.Errorf("a string is not closed")
}
