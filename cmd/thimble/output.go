package main

import (
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// print writes a report: as JSON with --json, otherwise as text.
func print(c *cli.Context, report fmt.Stringer) error {
	return printText(c, report, report.String)
}

// printText is print for a report without a String method.
func printText(c *cli.Context, report any, text func() string) error {
	if c.Bool(jsonFlag.Name) {
		return printJSON(c.App.Writer, report)
	}
	_, err := io.WriteString(c.App.Writer, text())
	return err
}

func printJSON(w io.Writer, v any) error {
	text, err := strictjson.Encode(v)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// newMeter returns a meter on c's error stream.
func newMeter(c *cli.Context) *terminal.Meter {
	return terminal.NewMeter(c.App.ErrWriter, c.Bool(quietFlag.Name))
}

var colorFlag = &cli.StringFlag{Name: "color", Value: "auto", Usage: "color the verdicts: `WHEN` is auto (on a terminal, unless NO_COLOR is set), always or never"}

// colorsOf reports whether to color the text that c prints.
func colorsOf(c *cli.Context) (bool, error) {
	switch when := c.String(colorFlag.Name); when {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		return terminal.ShowsColors(c.App.Writer), nil
	default:
		return false, fmt.Errorf("--color %s: want auto, always or never", defect.Printable(when))
	}
}

// printVerdict is printText for a report with verdicts, which it colors if colors is set.
func printVerdict(c *cli.Context, report any, colors bool, text func() string) error {
	if !colors {
		return printText(c, report, text)
	}
	return printText(c, report, func() string { return terminal.Colored(text()) })
}
