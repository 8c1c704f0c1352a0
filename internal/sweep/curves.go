package sweep

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"thimble/internal/atomicfile"
	"thimble/internal/facts"
	"thimble/internal/label"
	"thimble/verify/curve"
)

// Curves are the curves of all results of a folder, one for each model.
type Curves struct {
	Folder  string          `json:"sweep"`
	Results int             `json:"results"`
	Models  []*curve.Report `json:"models"`
	Written []string        `json:"output,omitempty"` // files of the option -o
	To      string          `json:"folder,omitempty"` // the folder of Written
}

// CurvesOf returns the curves of results. Peers are added to every model's.
func CurvesOf(folder string, results []*Result, peers []curve.Peer) *Curves {
	all := &Curves{Folder: folder, Results: len(results)}
	models := group(results, func(r *Result) (string, facts.Facts) { return r.Model, r.Inputs.Model })
	for _, m := range models {
		report := reportOf(m)
		report.Peers = peers
		if len(models) > 1 {
			report.Prefix = label.FileName(m.name) + "-"
		}
		all.Models = append(all.Models, report)
	}
	return all
}

// A named group has the results that share an input.
type named struct {
	name    string
	results []*Result
}

// group divides results by an input. A name that stands for several inputs gets the start of
// an input's hash.
func group(results []*Result, key func(*Result) (name string, input facts.Facts)) (groups []*named) {
	byInput := map[string]*named{}
	count := map[string]int{}
	for _, r := range results {
		name, input := key(r)
		id := fmt.Sprintf("%q", input)
		g := byInput[id]
		if g == nil {
			g = &named{name: name}
			byInput[id] = g
			groups = append(groups, g)
			count[name]++
		}
		g.results = append(g.results, r)
	}
	for _, g := range groups {
		if count[g.name] > 1 {
			_, input := key(g.results[0])
			hash, _ := (&Inputs{Model: input}).Name() // Facts are strings, which always encode
			g.name = fmt.Sprintf("%s %.6s", g.name, hash)
		}
	}
	slices.SortFunc(groups, func(a, b *named) int { return strings.Compare(a.name, b.name) })
	return groups
}

// reportOf returns the curve of one model.
func reportOf(m *named) *curve.Report {
	texts := group(m.results, func(r *Result) (string, facts.Facts) { return r.Text, r.Inputs.Text })
	rows := group(m.results, func(r *Result) (string, facts.Facts) { return r.Recipe, r.Inputs.Recipe })
	slices.SortStableFunc(rows, func(a, b *named) int { return cmp.Compare(a.results[0].File.Bytes, b.results[0].File.Bytes) })
	report := &curve.Report{Model: m.name, Weights: m.results[0].Weights}
	for _, x := range texts {
		r := x.results[0]
		report.Texts = append(report.Texts, curve.Text{Name: x.name, Chunks: r.Chunks, Context: r.Context, Tokens: r.Tokens, PPL: r.PPL})
	}
	missing := 0
	for _, x := range rows {
		r := x.results[0]
		row := curve.Row{
			Name: x.name, Bytes: r.File.Bytes, ExportBytes: r.File.ExportBytes, SHA256: r.File.SHA256, BitsPerWeight: r.File.BitsPerWeight,
			PredictedKL: r.File.PredictedKL, Recipe: r.File.Recipe, Series: r.Series,
		}
		if r.File.Existing {
			row.File = x.name
		}
		if r.Calibration != nil {
			report.Calibration = r.Calibration
		}
		for _, t := range texts {
			i := slices.IndexFunc(x.results, func(r *Result) bool { return slices.Contains(t.results, r) })
			if i < 0 {
				row.Measured = append(row.Measured, curve.NoPoint)
				missing++
				continue
			}
			row.Measured = append(row.Measured, x.results[i].Measured)
		}
		report.Rows = append(report.Rows, row)
	}
	if missing > 0 {
		report.Notes = append(report.Notes, fmt.Sprintf("%d of %d combinations of recipe and text have no result yet", missing, len(rows)*len(texts)))
	}
	return report
}

// Texts returns the names of the texts of all curves.
func (c *Curves) Texts() (names []string) {
	for _, m := range c.Models {
		for _, t := range m.Texts {
			if !slices.Contains(names, t.Name) {
				names = append(names, t.Name)
			}
		}
	}
	return names
}

// Publish writes the charts, reports and data of all curves to the folder at path, unless that
// is "". overwrite and inputs are those of atomicfile.Options.
func (c *Curves) Publish(path string, overwrite bool, inputs []string) error {
	if path == "" {
		return nil
	}
	files, err := c.files()
	if err != nil {
		return err
	}
	folder, err := atomicfile.NewFolder(path, overwrite, inputs)
	if err != nil {
		return fmt.Errorf("-o %w", err)
	}
	c.To = path
	for _, f := range files {
		c.Written = append(c.Written, f.Name)
	}
	if err := folder.Check(c.Written); err != nil {
		return err
	}
	if err := folder.Open(); err != nil {
		return err
	}
	defer folder.Close()
	return folder.Publish(nil, files)
}

// files returns the charts, reports and data.
func (c *Curves) files() (files []atomicfile.NamedFile, err error) {
	for _, m := range c.Models {
		some, err := m.Files()
		if err != nil {
			return nil, err
		}
		files = append(files, some...)
	}
	return files, nil
}

// String returns the curves for a terminal.
func (c *Curves) String() string {
	var b strings.Builder
	for i, m := range c.Models {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(m.String())
	}
	if len(c.Written) > 0 {
		fmt.Fprintf(&b, "wrote in %s:\n  %s\n", c.To, strings.Join(c.Written, " "))
	}
	return b.String()
}
