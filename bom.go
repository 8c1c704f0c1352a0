package thimble

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/bom"
	"thimble/internal/digest"
	"thimble/internal/label"
	"thimble/internal/model"
	"thimble/quantize"
	"thimble/target"
)

// addBill adds the bill of materials of m to r.
func (r *Inspection) addBill(ctx context.Context, m *model.Model, progress Progress) error {
	files, err := digest.Files(ctx, m.Files, progress.stage("hash", Bytes))
	if err != nil {
		return err
	}
	p, name, folder := &m.Provenance, filepath.Base(filepath.Clean(m.Path)), m.Path
	if !isCheckpoint(m.Path) {
		name = label.OfModel(name)
		folder = "" // what lies beside a file need not be about it
	}
	facts := stated(m)
	b := bom.Model{
		Name: name, Format: r.Format, Architecture: p.Architecture, Tool: Tool,
		Files: bom.FilesOf(files), Sources: bom.FilesOf(p.Sources), Licenses: bom.LicensesOfModel(facts, folder), Stated: facts,
	}
	fact := func(name, value string) {
		if value != "" {
			b.Facts = append(b.Facts, [2]string{name, value})
		}
	}
	fact("weights", strconv.FormatInt(r.Weights, 10))
	bits := func(bytes int64) string {
		return strconv.FormatFloat(8*float64(bytes)/float64(r.Weights), 'f', 2, 64)
	}
	fact("bits_per_weight", bits(r.FileBytes()))
	if r.Coded() {
		fact("bits_per_weight_in_memory", bits(r.Bytes))
	}
	fact("context", strconv.Itoa(m.Spec.Context))
	if c := r.Container; c != nil {
		fact("header_sha256", c.HeaderSHA256.String())
		for _, g := range c.Gates {
			b.Metrics = append(b.Metrics, bom.Metric{Name: g.Metric, Value: g.Value, Of: "against SHA-256 " + hex.EncodeToString(g.Against)})
		}
	}
	fact("made_by", p.Tool)
	for _, o := range p.Overrides {
		fact("override", o)
	}
	for _, text := range target.Recipes(m) {
		fact("recipe", text)
		b.Texts = append(b.Texts, textsOf(text)...)
	}
	r.Bill, err = bom.New(&b)
	return err
}

// textsOf returns the texts that a recipe was calibrated on, none for a recipe of a later version.
func textsOf(recipe string) (all []bom.Text) {
	r, err := quantize.ParseRecipe([]byte(recipe))
	if err != nil || r.Texts == nil {
		return nil
	}
	for i, sum := range r.Texts.SHA256 {
		name := cmp.Or(r.Texts.Name, "calibration text")
		if len(r.Texts.SHA256) > 1 {
			name += fmt.Sprintf(", %d of %d", i+1, len(r.Texts.SHA256))
		}
		all = append(all, bom.Text{Name: name, SHA256: sum})
	}
	return all
}

// stated returns the facts of m by their names. Those that the user gave win over the file's own.
func stated(m *model.Model) map[string]string {
	facts := map[string]string{}
	for _, f := range slices.Concat(m.Stated, m.Provenance.Facts()) {
		name, value, _ := strings.Cut(f, "=")
		facts[name] = value
	}
	return facts
}
