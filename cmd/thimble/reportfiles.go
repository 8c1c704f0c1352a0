package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/spell"
	"thimble/verify"
	"thimble/verify/render"
)

var (
	reportFlag   = &cli.StringSliceFlag{Name: "report", Usage: "write the report to `FILE`, in the form that its ending names: .html, .xml (JUnit), .md or .json (repeatable)"}
	formatFlag   = &cli.StringFlag{Name: "format", Usage: "print the report in the form `NAME`: text, json, md, junit or html"}
	annotateFlag = &cli.BoolFlag{Name: "annotate", Usage: "write GitHub annotations to standard error (default: where GITHUB_ACTIONS is true)"}
	replaceFlag  = &cli.BoolFlag{Name: "force", Usage: "replace files of --report that exist"}
)

// A reportForm is a way to write a report.
type reportForm struct {
	name   string
	ending string // of files; none of what is only printed
	write  func(*verify.Report) ([]byte, error)
}

var reportForms = []reportForm{
	{"text", "", func(r *verify.Report) ([]byte, error) { return []byte(render.Text(r)), nil }},
	{"json", ".json", reportJSON},
	{"md", ".md", func(r *verify.Report) ([]byte, error) { return []byte(render.Markdown(r)), nil }},
	{"junit", ".xml", render.JUnit},
	{"html", ".html", render.HTML},
}

func reportJSON(r *verify.Report) ([]byte, error) {
	var b bytes.Buffer
	err := printJSON(&b, r)
	return b.Bytes(), err
}

// A reportOutput is where a report goes: printed in one form, and into files.
type reportOutput struct {
	printed  *reportForm
	files    []reportFile
	options  atomicfile.Options
	annotate bool
}

type reportFile struct {
	path string
	form *reportForm
}

// reportsOf checks what --report, --format and --json ask for, before any work.
// inputs are files that no report may replace.
func reportsOf(c *cli.Context, inputs []string) (*reportOutput, error) {
	o := &reportOutput{options: atomicfile.Options{Overwrite: c.Bool(replaceFlag.Name), Inputs: inputs}}
	name := "text"
	switch given := c.String(formatFlag.Name); {
	case c.Bool(jsonFlag.Name) && c.IsSet(formatFlag.Name) && given != "json":
		return nil, fmt.Errorf("--json and --format %s ask for two forms; write one to a file by --report", defect.Printable(given))
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
			return nil, fmt.Errorf("--report %w", forceHint(err))
		}
		o.files = append(o.files, reportFile{path, form})
	}
	if len(o.files) == 0 && c.Bool(replaceFlag.Name) {
		return nil, errors.New("--force has no effect without --report FILE")
	}
	o.annotate = os.Getenv("GITHUB_ACTIONS") == "true"
	if c.IsSet(annotateFlag.Name) {
		o.annotate = c.Bool(annotateFlag.Name)
	}
	return o, nil
}

// formOf is the form that the ending of a file's name asks for.
func formOf(path string) (*reportForm, error) {
	if path == "-" {
		return nil, errors.New("--report -: name a file; --format NAME prints the report in another form")
	}
	ending := strings.ToLower(filepath.Ext(path))
	var endings []string
	for i := range reportForms {
		switch form := &reportForms[i]; {
		case form.ending == "":
		case form.ending == ending:
			return form, nil
		default:
			endings = append(endings, form.ending)
		}
	}
	return nil, fmt.Errorf("--report %s: its ending says what to write, want one of %s%s", defect.Printable(path), strings.Join(endings, ", "), spell.Suggest(ending, endings))
}

// put writes the files, prints the report, and annotates the run.
func (o *reportOutput) put(c *cli.Context, r *verify.Report) error {
	for _, f := range o.files {
		text, err := f.form.write(r)
		if err != nil {
			return fmt.Errorf("--report %s: %w", defect.Printable(f.path), err)
		}
		if err := writeWhole(f.path, text, o.options); err != nil {
			return forceHint(err)
		}
	}
	text, err := o.printed.write(r)
	if err != nil {
		return err
	}
	if _, err := c.App.Writer.Write(text); err != nil {
		return err
	}
	if o.annotate {
		_, err = io.WriteString(c.App.ErrWriter, render.Annotations(r))
	}
	return err
}

// writeWhole writes a file that is whole or not there.
func writeWhole(path string, text []byte, o atomicfile.Options) error {
	o.Size = int64(len(text))
	f, err := atomicfile.Create(path, o)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Commit()
}
