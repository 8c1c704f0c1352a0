package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/spell"
	"thimble/internal/strictjson"
	"thimble/verify"
	"thimble/verify/render"
)

var (
	reportFlag   = &cli.StringSliceFlag{Name: "report", Usage: "write the report to `FILE`, in the form of its extension: .html, .xml (JUnit), .md or .json (repeatable)"}
	formatFlag   = &cli.StringFlag{Name: "format", Usage: "print the report in the form `NAME`: text, json, md, junit or html"}
	annotateFlag = &cli.BoolFlag{Name: "annotate", Usage: "write GitHub annotations to standard error (default: if GITHUB_ACTIONS is true)"}
	replaceFlag  = &cli.BoolFlag{Name: "force", Usage: "replace existing files of --report"}
)

// A reportForm is a form in which verify prints or writes a report.
type reportForm struct {
	name  string
	ext   string // extension of files; "" if the form is only printed
	write func(*verify.Report) ([]byte, error)
}

var reportForms = []reportForm{
	{"text", "", func(r *verify.Report) ([]byte, error) { return []byte(render.Text(r)), nil }},
	{"json", ".json", func(r *verify.Report) ([]byte, error) { return strictjson.Encode(r) }},
	{"md", ".md", func(r *verify.Report) ([]byte, error) { return []byte(render.Markdown(r)), nil }},
	{"junit", ".xml", render.JUnit},
	{"html", ".html", render.HTML},
}

// A reportOutput specifies the form in which a report is printed, and its files.
type reportOutput struct {
	printed  *reportForm
	files    []reportFile
	options  atomicfile.Options
	annotate bool
	colors   bool
}

type reportFile struct {
	path string
	form *reportForm
}

// reportsOf reads --report, --format and --json, and checks them before any work
// starts. inputs are files that no report may replace.
func reportsOf(c *cli.Context, inputs []string) (*reportOutput, error) {
	o := &reportOutput{options: atomicfile.Options{Overwrite: c.Bool(replaceFlag.Name), Inputs: inputs}}
	name := "text"
	switch given := c.String(formatFlag.Name); {
	case c.Bool(jsonFlag.Name) && c.IsSet(formatFlag.Name) && given != "json":
		return nil, fmt.Errorf("--json and --format %s ask for two forms; write one of them to a file with --report", defect.Printable(given))
	case c.Bool(jsonFlag.Name):
		name = "json"
	case c.IsSet(formatFlag.Name):
		name = given
	}
	var names []string
	for i := range reportForms {
		names = append(names, reportForms[i].name)
		if reportForms[i].name == name {
			o.printed = &reportForms[i]
		}
	}
	if o.printed == nil {
		return nil, fmt.Errorf("--format %s: want one of %s%s", defect.Printable(name), strings.Join(names, ", "), spell.Suggest(name, names))
	}
	for _, path := range c.StringSlice(reportFlag.Name) {
		form, err := formOf(path)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(o.files, func(f reportFile) bool { return filepath.Clean(f.path) == filepath.Clean(path) }) {
			return nil, fmt.Errorf("--report %s is given twice", defect.Printable(path))
		}
		if err := atomicfile.Check(path, o.options); err != nil {
			return nil, fmt.Errorf("--report %w", withForceHint(err))
		}
		o.files = append(o.files, reportFile{path, form})
	}
	if len(o.files) == 0 && c.Bool(replaceFlag.Name) {
		return nil, errors.New("--force has no effect without --report FILE")
	}
	if name == "text" {
		var err error
		if o.colors, err = colorsOf(c); err != nil {
			return nil, err
		}
	}
	o.annotate = os.Getenv("GITHUB_ACTIONS") == "true"
	if c.IsSet(annotateFlag.Name) {
		o.annotate = c.Bool(annotateFlag.Name)
	}
	return o, nil
}

// formOf returns the form that the extension of path names.
func formOf(path string) (*reportForm, error) {
	if path == "-" {
		return nil, errors.New("--report -: name a file; --format NAME prints the report in another form")
	}
	ext := strings.ToLower(filepath.Ext(path))
	var known []string
	for i := range reportForms {
		switch form := &reportForms[i]; {
		case form.ext == "":
		case form.ext == ext:
			return form, nil
		default:
			known = append(known, form.ext)
		}
	}
	return nil, fmt.Errorf("--report %s: the extension chooses the form, want one of %s%s", defect.Printable(path), strings.Join(known, ", "), spell.Suggest(ext, known))
}

// write writes the files, prints the report, and writes the annotations.
func (o *reportOutput) write(c *cli.Context, r *verify.Report) error {
	for _, f := range o.files {
		text, err := f.form.write(r)
		if err != nil {
			return fmt.Errorf("--report %s: %w", defect.Printable(f.path), err)
		}
		if err := atomicfile.WriteFile(f.path, text, o.options); err != nil {
			return withForceHint(err)
		}
	}
	text, err := o.printed.write(r)
	if err != nil {
		return err
	}
	if o.colors {
		text = []byte(terminal.Colored(string(text)))
	}
	if _, err := c.App.Writer.Write(text); err != nil {
		return err
	}
	if !r.Pass && o.printed.name != "text" {
		complain(c, render.Headline(r))
	}
	if o.annotate {
		_, err = io.WriteString(c.App.ErrWriter, render.Annotations(r))
	}
	return err
}

// complain writes the first line of a failure to standard error, for the log of a job whose
// standard output is a document.
func complain(c *cli.Context, line string) {
	if !c.Bool(quietFlag.Name) {
		fmt.Fprintln(c.App.ErrWriter, line)
	}
}

// withForceHint adds the remedy to an error about an existing file.
func withForceHint(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w; --force replaces it", err)
	}
	return err
}
