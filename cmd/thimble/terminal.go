package main

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
)

var colorFlag = &cli.StringFlag{Name: "color", Value: "auto", Usage: "color the verdicts: `WHEN` is auto (on a terminal, unless NO_COLOR is set), always or never"}

// colorsOf reports whether to color the text that c prints.
func colorsOf(c *cli.Context) (bool, error) {
	switch when := c.String(colorFlag.Name); when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return colorsByDefault(os.Getenv, isTerminal(c.App.Writer)), nil
	default:
		return false, fmt.Errorf("--color %s: want auto, always or never", defect.Printable(when))
	}
}

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

// showsUnicode reports whether the locale's encoding is UTF-8, so that bars can be drawn.
func showsUnicode() bool { return unicodeLocale(os.Getenv) }

func unicodeLocale(env func(string) string) bool {
	if env("TERM") == "dumb" || env("TERM") == "linux" { // the console of Linux lacks most glyphs
		return false
	}
	locale := strings.ToUpper(cmp.Or(env("LC_ALL"), env("LC_CTYPE"), env("LANG")))
	return strings.Contains(locale, "UTF-8") || strings.Contains(locale, "UTF8") || env("WT_SESSION") != "" // Windows Terminal
}

// verdicts matches the verdicts that a report prints: at the start of a line, or at the
// end of a row of a table. Names of files and texts of models are in other places.
var verdicts = []struct {
	pattern *regexp.Regexp // the verdict is the second group
	escape  string
}{
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

const (
	red    = "\x1b[1;31m"
	green  = "\x1b[1;32m"
	yellow = "\x1b[1;33m"
	plain  = "\x1b[0m"
)

// colored returns text with its verdicts colored.
func colored(text string) string {
	for _, v := range verdicts {
		text = v.pattern.ReplaceAllString(text, "${1}"+v.escape+"${2}"+plain+"${3}")
	}
	return text
}

// printVerdict is printText for a report with verdicts, which it colors if colors is set.
func printVerdict(c *cli.Context, report any, colors bool, text func() string) error {
	if !colors {
		return printText(c, report, text)
	}
	return printText(c, report, func() string { return colored(text()) })
}
