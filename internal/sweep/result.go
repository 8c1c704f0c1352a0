package sweep

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/facts"
	"thimble/internal/strictjson"
	"thimble/verify/curve"
)

// Schema is the version of a Result's JSON.
const Schema = 1

// Version is that of the figures: whoever changes what a job computes raises it, so that no
// folder mixes the two.
const Version = 1

// Inputs are all that the figures of a Result depend on.
type Inputs struct {
	Program string      `json:"program"` // Version, and that of the arithmetic of calibrated runs
	Model   facts.Facts `json:"model"`   // the SHA-256 of its files, and overrides
	Recipe  facts.Facts `json:"recipe"`  // with its calibration, or the SHA-256 of an existing file
	Text    facts.Facts `json:"text"`    // its SHA-256, and how it is cut
}

// Name returns the SHA-256 of the JSON of in, in hexadecimal. It names the result.
func (in *Inputs) Name() (string, error) {
	text, err := json.Marshal(in)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// A Result is what one job has measured. It does not depend on when, where and in how many
// processes the sweep ran.
type Result struct {
	Schema int    `json:"schema"`
	Tool   string `json:"tool"`   // program and version that measured
	Model  string `json:"model"`  // its name in the plan
	Recipe string `json:"recipe"` // likewise
	Text   string `json:"text"`   // likewise
	Inputs Inputs `json:"inputs"`

	Weights     int64              `json:"weights"` // of the model
	Calibration *curve.Calibration `json:"calibration,omitempty"`
	Series      string             `json:"series,omitempty"` // the same in recipes that differ only in their budget
	File        File               `json:"file"`
	Chunks      int                `json:"chunks"`
	Context     int                `json:"context"`
	Tokens      int                `json:"tokens"` // scored
	PPL         curve.Value        `json:"ppl_reference"`
	Measured    curve.Point        `json:"measured"`

	// Digest is the SHA-256 of the JSON of all the others, in hexadecimal, because the name covers
	// only Inputs. Only files have it, and those of early versions do not.
	Digest string `json:"digest,omitempty"`
}

// digest returns what Digest is to be.
func (r Result) digest() (string, error) {
	r.Digest = ""
	text, err := json.Marshal(r)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// A File describes the file that was measured.
type File struct {
	Existing      bool    `json:"existing,omitempty"` // the recipe names it; otherwise the job made it
	Bytes         int64   `json:"bytes"`
	ExportBytes   int64   `json:"export_bytes,omitempty"` // of the file that another program runs
	SHA256        string  `json:"sha256"`
	BitsPerWeight float64 `json:"bits_per_weight"`
	PredictedKL   float64 `json:"predicted_kl,omitempty"`
	Recipe        string  `json:"recipe,omitempty"` // canonical YAML
}

// ResultOf returns what a sweep stores of a file of report that was measured on a text, without
// names and Inputs.
func ResultOf(report *curve.Report, row *curve.Row, text int, p curve.Point) *Result {
	t := &report.Texts[text]
	return &Result{
		Weights: report.Weights, Calibration: report.Calibration, Series: row.Series, Chunks: t.Chunks, Context: t.Context, Tokens: t.Tokens, PPL: t.PPL, Measured: p,
		File: File{
			Existing: row.File != "", Bytes: row.Bytes, ExportBytes: row.ExportBytes, SHA256: row.SHA256, BitsPerWeight: row.BitsPerWeight,
			PredictedKL: row.PredictedKL, Recipe: row.Recipe,
		},
	}
}

// parse reads a result that is stored as name.
func parse(path, name string, text []byte) (*Result, error) {
	if _, err := strictjson.Decode(path, text); err != nil { // one meaning, bounded depth
		return nil, err
	}
	r := new(Result)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %s", defect.Printable(path), defect.Printable(strings.TrimPrefix(err.Error(), "json: ")))
	}
	if err := r.check(name); err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	r.Digest = ""
	return r, nil
}

// errNotMine means that a result is damaged, or a file only looks like one.
var errNotMine = errors.New("is not the result that its name stands for: it is damaged, or was changed by hand; remove it, and run the sweep again")

func (r *Result) check(name string) error {
	if r.Schema != Schema {
		return fmt.Errorf("has schema %d, and this version of thimble reads %d; remove it, and run the sweep again", r.Schema, Schema)
	}
	own, err := r.Inputs.Name()
	if err != nil || own != name {
		return errNotMine
	}
	for _, label := range []string{r.Model, r.Recipe, r.Text} {
		if checkLabel(label) != nil {
			return errNotMine
		}
	}
	if sum, err := r.digest(); err != nil || r.Digest != "" && r.Digest != sum {
		return errNotMine
	}
	if r.Weights <= 0 || r.File.Bytes <= 0 || !(r.File.BitsPerWeight > 0) || r.Tokens <= 0 || !(r.File.PredictedKL >= 0) {
		return errNotMine
	}
	return nil
}
