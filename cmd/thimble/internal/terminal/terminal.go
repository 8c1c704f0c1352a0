// Package terminal is about what a terminal shows: progress, colored verdicts, and text that
// cannot command it.
package terminal

import (
	"bytes"
	"cmp"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// IsTerminal reports whether w is a terminal.

func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// sameStream reports whether a and b write to the same file, pipe or terminal.
func sameStream(a, b io.Writer) bool {
	x, ok1 := a.(*os.File)
	y, ok2 := b.(*os.File)
	if !ok1 || !ok2 {
		return false
	}
	one, err1 := x.Stat()
	other, err2 := y.Stat()
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// A PlainText writer replaces control characters, which a terminal would obey, in a
// model's text, before it writes to W.
type PlainText struct{ W io.Writer }

func (p PlainText) Write(text []byte) (int, error) {
	shown := bytes.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if _, err := p.W.Write(shown); err != nil {
		return 0, err
	}
	return len(text), nil
}

// OneLine returns a note in one line that is safe on a terminal, however long it is: its
// end says what to do.
func OneLine(note string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, note)
}

// ShowsColors reports whether text for w is colored unless a flag says otherwise.
func ShowsColors(w io.Writer) bool { return colorsByDefault(os.Getenv, IsTerminal(w)) }

// colorsByDefault applies the conventions of https://no-color.org and
// https://bixense.com/clicolors.
func colorsByDefault(env func(string) string, terminal bool) bool {
	force := env("CLICOLOR_FORCE")
	switch {
	case env("NO_COLOR") != "":
		return false
	case force != "" && force != "0":
		return true
	}
	return terminal && env("TERM") != "dumb" && env("CLICOLOR") != "0"
}

// ShowsUnicode reports whether the locale's encoding is UTF-8, so that bars can be drawn.
func ShowsUnicode() bool { return unicodeLocale(os.Getenv) }

func unicodeLocale(env func(string) string) bool {
	if env("TERM") == "dumb" || env("TERM") == "linux" { // the console of Linux lacks most glyphs
		return false
	}
	locale := strings.ToUpper(cmp.Or(env("LC_ALL"), env("LC_CTYPE"), env("LANG")))
	return strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8") || env("WT_SESSION") != "" // Windows Terminal
}

// verdicts matches the verdicts that a report prints: at the start of a line, or at the
// end of a row of a table. Names of files and texts of models are in other places. A program
// without a terminal does not compile the patterns.
var verdicts = sync.OnceValue(func() []verdict {
	return []verdict{
		{regexp.MustCompile(`(?m)^()(PASS|SAME)(  |$)`), green},
		{regexp.MustCompile(`(?m)^()(FAIL|DIFFER)(  |$)`), red},
		{regexp.MustCompile(`(?m)^()(UNDECIDED)(  |$)`), yellow},
		{regexp.MustCompile(`(?m)^(  \w+ +\S+  +[<>]= \S+ )(pass)\b()`), green},
		{regexp.MustCompile(`(?m)^(  \w+ +\S+  +[<>]= \S+ )(FAIL)\b()`), red},
		{regexp.MustCompile(`(?m)^(  \w+ +\S+ +\S+ +\S+ .* )(WORSE)()$`), red},
		{regexp.MustCompile(`(?m)^(  \S.*% +\S+  )(pass)()$`), green}, // of demo
		{regexp.MustCompile(`(?m)^(  \S.*% +\S+  )(FAIL)()$`), red},
		{regexp.MustCompile(`(?m)^(  \S.*  )(MISSED|WRONG)(: )`), red}, // of --selftest
	}
})

type verdict struct {
	pattern *regexp.Regexp // the verdict is the second group
	escape  string
}

const (
	red    = "\x1b[1;31m"
	green  = "\x1b[1;32m"
	yellow = "\x1b[1;33m"
	plain  = "\x1b[0m"
)

// Colored returns text with its verdicts colored.
func Colored(text string) string {
	for _, v := range verdicts() {
		text = v.pattern.ReplaceAllString(text, "${1}"+v.escape+"${2}"+plain+"${3}")
	}
	return text
}
