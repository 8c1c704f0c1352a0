package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/fixtures"
	"thimble/internal/model"
	"thimble/quantize"
)

var calibrationFlags = []cli.Flag{
	&cli.StringSliceFlag{Name: "calib", Usage: "calibrate on the text in `FILE`, or the chats of one named .jsonl (repeatable); implies --method gptq"},
	&cli.IntFlag{Name: "calib-tokens", Value: 16384, Usage: "use `N` tokens of it, in pieces spread evenly"},
	&cli.IntFlag{Name: "calib-context", Value: 512, Usage: "of `TOKENS` each"},
	&cli.Uint64Flag{Name: "calib-seed", Usage: "draw the pieces by `N`, each from its own stretch of the text (0: its first)"},
	resumeFlag,
}

// builtinText is what serves where no text is given.
const builtinText = "trained/calibration.txt"

// calibrates reports whether the command's recipe is to be calibrated, and sets
// the method that goes with it.
func calibrates(c *cli.Context, r *quantize.Recipe) bool {
	wanted := c.IsSet("calib") || budgeted(c) || r.Texts != nil
	if r.Method == "" && wanted {
		r.Method = quantize.MethodGPTQ
	}
	return wanted || quantize.NeedsTexts(r.Method)
}

// A calibration is texts in a model's tokens.
type calibration struct {
	texts   *quantize.Calibration // nil if the recipe is not to be calibrated
	special func(id int) bool
	note    string // what they are, where the user did not say
}

// calibrationOf returns the texts that the flags or the recipe name, in m's
// tokens, and writes into the recipe which they are.
func calibrationOf(c *cli.Context, m *model.Model, r *quantize.Recipe) (cal calibration, err error) {
	if !calibrates(c, r) {
		for _, name := range []string{"calib-tokens", "calib-context", "calib-seed"} {
			if c.IsSet(name) {
				return cal, fmt.Errorf("--%s has no effect without calibration; name a text with --calib", name)
			}
		}
		return cal, nil
	}
	tokens, length, seed := c.Int("calib-tokens"), c.Int("calib-context"), c.Uint64("calib-seed")
	if !c.IsSet("calib-context") {
		length = min(length, m.Spec.Context)
	}
	if r.Texts != nil {
		if !c.IsSet("calib-tokens") {
			tokens = r.Texts.Tokens
		}
		if !c.IsSet("calib-context") {
			length = r.Texts.Context
		}
		if !c.IsSet("calib-seed") {
			seed = r.Texts.Seed
		}
	}
	if err := checkContext(m, length, fmt.Sprintf("use --calib-context %d or less", m.Spec.Context)); err != nil {
		return cal, err
	}
	texts, note, err := calibrationTexts(c)
	if err != nil {
		return cal, err
	}
	sums := make([]string, len(texts))
	for i, t := range texts {
		sum := sha256.Sum256([]byte(t.content))
		sums[i] = hex.EncodeToString(sum[:])
	}
	if r.Texts != nil && !slices.Equal(sums, r.Texts.SHA256) {
		return cal, fmt.Errorf("the recipe was calibrated on texts with SHA-256 %s, not on %s; give those with --calib, or remove calibration from the recipe",
			strings.Join(r.Texts.SHA256, ", "), strings.Join(sums, ", "))
	}
	data, tok, err := openTokenizerData(m)
	if err != nil {
		return cal, fmt.Errorf("calibration: %w", err)
	}
	var ids []int
	for _, t := range texts {
		var more []int
		if isChats(t.path) {
			more, err = chatTokens(c, tok, data, m.Path, t.path, t.content)
		} else {
			more, err = encode(c.Context, tok, t.content, true)
		}
		if err != nil {
			return cal, err
		}
		ids = append(ids, more...)
	}
	if cal.texts, err = pieces(ids, tokens, length, tok.Start(), seed, measuredLimit(c)); err != nil {
		return cal, fmt.Errorf("calibration: %w; use a longer text or a smaller --calib-context", err)
	}
	r.Texts = &quantize.Texts{SHA256: sums, Tokens: cal.texts.Tokens(), Context: length, Seed: seed}
	cal.special, cal.note = tok.IsSpecial, note
	return cal, nil
}

// pieces cuts ids, leaving an eighth of a text that would be used up if some of it
// is to be held out.
func pieces(ids []int, tokens, length, bos int, seed uint64, holdOut bool) (*quantize.Calibration, error) {
	cal, err := quantize.Pieces(ids, tokens, length, bos, seed)
	if err != nil || !holdOut || len(cal.Spare) > 0 || len(cal.Texts) == 1 {
		return cal, err
	}
	n := len(cal.Texts)
	return quantize.Pieces(ids, (n-max(1, n/8))*length, length, bos, seed)
}

// A calibrationText is what a file holds.
type calibrationText struct {
	path    string // "" for the built-in text
	content string
}

// calibrationTexts reads the files of --calib, or the built-in text.
func calibrationTexts(c *cli.Context) (texts []calibrationText, note string, err error) {
	for _, path := range c.StringSlice("calib") {
		content, err := readText(c.Context, path, maxText)
		if err != nil {
			return nil, "", err
		}
		texts = append(texts, calibrationText{path, content})
	}
	if texts != nil {
		return texts, "", nil
	}
	content, err := fixtures.Trained.ReadFile(builtinText)
	return []calibrationText{{"", string(content)}}, "no --calib: calibrating on the built-in text, Go's documentation; text of the kind that the model will meet does better", err
}
