package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/quantize"
)

var statsFlag = &cli.StringSliceFlag{
	Name: "stats", Usage: "keep the survey that a budget needs in `FILE`, or take it from there (repeatable: the mean of several)",
}

// maxSurvey bounds the text of a survey: 15,000 matrices in a hundred schemes take
// 40 MB.
const maxSurvey = 64 << 20

// survey takes a survey, or reads it from the files of --stats. note says which.
func (b *budget) survey(c *cli.Context, m *model.Model, sources *hashing, r *quantize.Recipe, texts *quantize.Calibration) (s *quantize.Survey, note string, err error) {
	paths := c.StringSlice(statsFlag.Name)
	if len(paths) == 0 {
		s, err = takeSurvey(c, m, texts, b.schemes)
		return s, "", err
	}
	for _, path := range paths {
		if path == "-" {
			return nil, "", errors.New("--stats -: a survey is kept in a file; name one")
		}
	}
	var saved []*quantize.SavedSurvey
	for _, path := range paths {
		text, err := readText(c.Context, path, maxSurvey)
		if len(paths) == 1 && errors.Is(err, fs.ErrNotExist) {
			return b.saveSurvey(c, path, m, sources, r, texts)
		}
		if err != nil {
			return nil, "", err
		}
		one, err := quantize.ParseSurvey(path, []byte(text))
		if err != nil {
			return nil, "", err
		}
		saved = append(saved, one)
	}
	facts, err := modelFacts(m, sources)
	if err != nil {
		return nil, "", err
	}
	for i, one := range saved {
		why := one.Fit(m, facts, b.schemes)
		if d := one.Texts.Differ(textFacts(r, texts)); why == "" && len(saved) == 1 && d != "" {
			why = "it is a survey on other texts: " + d
		}
		if why != "" {
			return nil, "", fmt.Errorf("--stats %s: %s; remove it to survey again, or name another file", defect.Printable(paths[i]), why)
		}
	}
	return quantize.MergeSurveys(saved), mergedNote(paths, saved), nil
}

func mergedNote(paths []string, saved []*quantize.SavedSurvey) string {
	if len(saved) == 1 {
		return "not surveyed again: predictions are those of " + defect.Printable(paths[0])
	}
	var parts []string
	for i, s := range saved {
		parts = append(parts, fmt.Sprintf("%s (%d tokens)", defect.Printable(paths[i]), s.Tokens))
	}
	return "not surveyed again: predictions are the mean of " + strings.Join(parts, ", ")
}

// saveSurvey takes a survey and keeps it in the file at path, which is begun before
// that so that what cannot be written is found out early.
func (b *budget) saveSurvey(c *cli.Context, path string, m *model.Model, sources *hashing, r *quantize.Recipe, texts *quantize.Calibration) (s *quantize.Survey, note string, err error) {
	out := c.String(outFlag.Name)
	for _, other := range []string{out, out + unfinishedSuffix} {
		if out != "" && filepath.Clean(other) == filepath.Clean(path) {
			return nil, "", fmt.Errorf("--stats %s: is where -o writes to; name another file", defect.Printable(path))
		}
	}
	file, err := atomicfile.Create(path, atomicfile.Options{})
	if err != nil {
		return nil, "", fmt.Errorf("--stats %w", err)
	}
	defer file.Abort()
	if s, err = takeSurvey(c, m, texts, b.schemes); err != nil {
		return nil, "", err
	}
	facts, err := modelFacts(m, sources)
	if err != nil {
		return nil, "", err
	}
	saved := quantize.SavedSurvey{Survey: *s, Model: facts, Texts: textFacts(r, texts), Tokens: r.Texts.Tokens}
	text, err := saved.Text()
	if err != nil {
		return nil, "", fmt.Errorf("--stats %s: %w", defect.Printable(path), err)
	}
	if _, err := file.Write(text); err != nil {
		return nil, "", err
	}
	if err := file.Commit(); err != nil {
		return nil, "", err
	}
	return s, "the survey is kept in " + defect.Printable(path) + ": --stats takes it from there for other budgets", nil
}

// statsFacts are the surveys that are merged. A single one is of the texts that are
// calibrated on, whether it is read or taken.
func statsFacts(c *cli.Context) (f quantize.Facts, err error) {
	paths := c.StringSlice(statsFlag.Name)
	if len(paths) < 2 {
		return nil, nil
	}
	for i, path := range paths {
		text, err := readText(c.Context, path, maxSurvey)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256([]byte(text))
		f = append(f, [2]string{fmt.Sprintf("--stats, file %d", i+1), hex.EncodeToString(sum[:])})
	}
	return f, nil
}
