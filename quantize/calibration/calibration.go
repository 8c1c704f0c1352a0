// Package calibration reads the texts that a calibrated run measures rounding errors on: those
// that the user names, or a built-in mix.
package calibration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/chat"
	"thimble/internal/defect"
	"thimble/internal/mixedtext"
	"thimble/internal/model"
	"thimble/internal/texts"
	"thimble/quantize"
	"thimble/quantize/rounding"
	"thimble/quantize/tuning"
)

// Options specify the texts on which a method measures rounding errors.
type Options struct {
	// Texts are paths of plain text or, with the extension .jsonl or .ndjson, of JSON
	// lines that hold conversations. A method that needs texts uses a built-in mix of
	// prose, code and conversations if there are none, and texts that the model writes if there
	// is just Self.
	Texts   []string
	Tokens  int     // number of tokens to use; 0 is the recipe's number, or 16384
	Context int     // tokens in a piece; 0 is the recipe's number, or 512 (the model's context if that is less)
	Seed    *uint64 // chooses the pieces; nil is the recipe's seed, or 0, which takes the first of each stretch

	// Render is the command line of a program that calls chat.Serve. It renders chat
	// templates, which are untrusted code, in a separate process. Without it, conversations
	// are an error, and the built-in ones are read as plain text.
	Render []string
}

// The default amounts of text, in tokens.
const (
	DefaultTokens  = 16384
	DefaultContext = 512
)

// DefaultMethod is the method of a calibrated run whose recipe names none.
const DefaultMethod = rounding.MethodGPTQ

// Wanted reports whether a run with recipe r, which may have a budget, calibrates. If so and r
// names no method, Wanted sets r's method.
func (o *Options) Wanted(r *quantize.Recipe, budgeted bool) bool {
	wanted := len(o.Texts) > 0 || budgeted || r.Texts != nil || r.Tune > 0
	if r.Method == "" && wanted {
		r.Method = DefaultMethod
	}
	return wanted || rounding.NeedsTexts(r.Method)
}

// Texts are calibration texts as a model's tokens.
type Texts struct {
	*quantize.Calibration                   // nil without calibration
	Special               func(id int) bool // reports whether a token is special
	Note                  string            // names the built-in text if the user named none
	Tuning                *tuning.Texts     // nil without Recipe.Tune
}

// A Progress has functions that Read calls, or nil.
type Progress struct {
	Rendered func(done, total int64) // with the bytes of conversations that were rendered
	Written  func(done, total int64) // with the tokens that the model has written
}

// Read reads the texts that o names, or the built-in one, and records their digests in r. If r
// records digests already, they must match. Without calibration, Texts.Calibration is nil.
// holdOut leaves some pieces out, to measure on.
func (o *Options) Read(ctx context.Context, m *model.Model, r *quantize.Recipe, budgeted, holdOut bool, progress Progress) (cal Texts, err error) {
	if !o.Wanted(r, budgeted) {
		return cal, o.unused()
	}
	want := o.Amounts(m, r.Texts)
	if err := texts.CheckContext(m, want.Context, fmt.Sprintf("use --calib-context %d or less", m.Spec.Context)); err != nil {
		return cal, err
	}
	if o.writes(r) {
		return o.write(ctx, m, r, want, holdOut, progress.Written)
	}
	files, note, err := o.read(ctx)
	if err != nil {
		return cal, err
	}
	for _, f := range files {
		sum := sha256.Sum256([]byte(f.content))
		want.SHA256 = append(want.SHA256, hex.EncodeToString(sum[:]))
	}
	if len(o.Texts) == 0 {
		want.Name = mixedtext.Name
	}
	if err := checkDigests(r, &want); err != nil {
		return cal, err
	}
	tok, data, err := texts.Tokenizer(m)
	if err != nil {
		return cal, fmt.Errorf("calibration: %w; --calib %s needs none: the model writes the text", err, Self)
	}
	encode := func(ctx context.Context, text string, special bool) ([]int, error) {
		return texts.Encode(ctx, tok, text, special)
	}
	var ids []int
	for _, f := range files {
		more, err := f.tokens(ctx, &chat.File{Path: f.path, Text: f.content, Model: m.Path, Data: data, Render: o.Render, Encode: encode}, progress.Rendered)
		if err != nil {
			return cal, err
		}
		ids = append(ids, more...)
	}
	cal.Special, cal.Note = tok.IsSpecial, note
	if err = cal.cut(ids, r, want, tok.Start(), holdOut); err != nil {
		return cal, fmt.Errorf("%s: %w", named(files), err)
	}
	return cal, nil
}

// checkDigests returns an error if r records the digests of other texts than want does.
func checkDigests(r *quantize.Recipe, want *quantize.Texts) error {
	if r.Texts == nil || slices.Equal(want.SHA256, r.Texts.SHA256) {
		return nil
	}
	return fmt.Errorf("the recipe was calibrated on texts with SHA-256 %s, not on %s; give those with --calib; a recipe for other texts has no calibration section",
		strings.Join(r.Texts.SHA256, ", "), strings.Join(want.SHA256, ", "))
}

// cut cuts ids into the pieces of t, and records want in r.
func (t *Texts) cut(ids []int, r *quantize.Recipe, want quantize.Texts, bos int, holdOut bool) (err error) {
	if t.Calibration, err = cutPieces(ids, want, bos, holdOut); err != nil {
		return err
	}
	if r.Tune > 0 {
		pieces, err := quantize.Pieces(ids, r.Tune, want.Context, bos, want.Seed)
		if err == nil {
			t.Tuning, err = tuning.Divide(pieces.Texts)
		}
		if err != nil {
			return fmt.Errorf("--tune: %w", err)
		}
	}
	want.Tokens = t.Tokens()
	r.Texts = &want
	return nil
}

// unused returns an error if o says how to calibrate a run that does not.
func (o *Options) unused() error {
	for _, given := range []struct {
		name string
		set  bool
	}{{"calib-tokens", o.Tokens != 0}, {"calib-context", o.Context != 0}, {"calib-seed", o.Seed != nil}} {
		if given.set {
			return fmt.Errorf("--%s has no effect without calibration; name a text with --calib", given.name)
		}
	}
	return nil
}

// Facts returns what the pieces for m depend on besides its tokenizer: the SHA-256 of each text,
// and how they are cut.
func (o *Options) Facts(ctx context.Context, m *model.Model) (f quantize.Facts, err error) {
	if o.writes(&quantize.Recipe{}) {
		f = append(f, [2]string{"calibration text", Self})
	} else {
		files, _, err := o.read(ctx)
		if err != nil {
			return nil, err
		}
		for i, file := range files {
			sum := sha256.Sum256([]byte(file.content))
			f = append(f, [2]string{fmt.Sprintf("calibration text %d", i+1), hex.EncodeToString(sum[:])})
		}
	}
	want := o.Amounts(m, nil)
	return append(f, [2]string{"tokens", strconv.Itoa(want.Tokens)}, [2]string{"context", strconv.Itoa(want.Context)}, [2]string{"seed", strconv.FormatUint(want.Seed, 10)}), nil
}

// Amounts returns the number of tokens, the context and the seed: the values of o,
// otherwise those of the recipe, otherwise the defaults.
func (o *Options) Amounts(m *model.Model, recipe *quantize.Texts) quantize.Texts {
	want := quantize.Texts{Tokens: DefaultTokens, Context: min(DefaultContext, m.Spec.Context)}
	if recipe != nil {
		want.Tokens, want.Context, want.Seed = recipe.Tokens, recipe.Context, recipe.Seed
	}
	if o.Tokens != 0 {
		want.Tokens = o.Tokens
	}
	if o.Context != 0 {
		want.Context = o.Context
	}
	if o.Seed != nil {
		want.Seed = *o.Seed
	}
	return want
}

// Unread returns what a recipe will record of the texts before they are read: their digests
// are zero.
func (o *Options) Unread(m *model.Model, recipe *quantize.Texts) *quantize.Texts {
	want := o.Amounts(m, recipe)
	want.SHA256 = slices.Repeat([]string{strings.Repeat("0", 2*sha256.Size)}, max(1, len(o.Texts)))
	return &want
}

// cutPieces cuts ids into pieces. If holdOut is set and no spare piece would be left, it
// leaves an eighth of them out.
func cutPieces(ids []int, want quantize.Texts, bos int, holdOut bool) (*quantize.Calibration, error) {
	if err := checkPieces(len(ids), want, holdOut); err != nil {
		return nil, err
	}
	cal, err := quantize.Pieces(ids, want.Tokens, want.Context, bos, want.Seed)
	if err != nil || !holdOut || len(cal.Spare) > 0 {
		return cal, err
	}
	n := len(cal.Texts)
	fewer := n - max(1, n/8)
	if cal, err = quantize.Pieces(ids, fewer*want.Context, want.Context, bos, want.Seed); err == nil {
		cal.Available = fewer * want.Context
	}
	return cal, err
}

// checkPieces returns an error if a text of n tokens has too few pieces, with the numbers
// that would do.
func checkPieces(n int, want quantize.Texts, holdOut bool) error {
	const (
		leastText   = 512 // tokens of a text that is worth cutting into shorter pieces
		leastPiece  = 2
		leastScored = 3 // tokens of a piece in which a position is scored
	)
	longer := func(most, least int) string { // the remedy for a text that has only pieces of most tokens
		switch {
		case n < leastText:
			return "use a longer text, or leave --calib out for the built-in one"
		case most < least:
			return "use a longer text"
		}
		return fmt.Sprintf("use a longer text or a smaller --calib-context, at most %d", most)
	}
	shorter := func(most, least int) string { // the remedy that shortens pieces to most tokens
		if most < least {
			return ""
		}
		return fmt.Sprintf(" or a smaller --calib-context, at most %d", most)
	}
	switch {
	case want.Context < leastPiece: // Pieces reports it
		return nil
	case holdOut && want.Context < leastScored:
		return fmt.Errorf("--max-kl and --min-top1 score held-out pieces of %d tokens or more; use --calib-context %d or more", leastScored, leastScored)
	case want.Tokens < want.Context:
		return fmt.Errorf("%d tokens are fewer than one piece of %d; use --calib-tokens %d or more%s", want.Tokens, want.Context, want.Context, shorter(want.Tokens, leastPiece))
	case holdOut && n < 2*want.Context:
		return fmt.Errorf("--max-kl and --min-top1 are measured on held-out pieces of the calibration text, and it is too short to hold any out: "+
			"it has %d tokens, fewer than two pieces of %d; %s", n, want.Context, longer(n/2, leastScored))
	case n < want.Context:
		return fmt.Errorf("the text has %d tokens, fewer than one piece of %d; %s", n, want.Context, longer(n, leastPiece))
	}
	return nil
}

// A textFile is the content of a text file.
type textFile struct {
	path    string // "" for a part of the built-in text
	content string
	spoken  bool // the built-in conversations
}

// named returns the paths of files, for an error.
func named(files []textFile) string {
	var paths []string
	for _, f := range files {
		if f.path != "" {
			paths = append(paths, defect.Printable(f.path))
		}
	}
	if paths == nil {
		return "calibration"
	}
	return strings.Join(paths, ", ")
}

// tokens returns the ids of f, which are those of its conversations if it has any.
func (f *textFile) tokens(ctx context.Context, chats *chat.File, rendered func(done, total int64)) ([]int, error) {
	switch {
	case isChats(f.path):
		return chats.Tokens(ctx, rendered)
	case f.spoken:
		return chats.Builtin(ctx, rendered)
	}
	return chats.Encode(ctx, f.content, true)
}

// read reads the texts of o, or the built-in one.
func (o *Options) read(ctx context.Context) (files []textFile, note string, err error) {
	for _, path := range o.Texts {
		content, err := texts.Read(ctx, "--calib", path, texts.MaxBytes)
		if err != nil {
			return nil, "", err
		}
		files = append(files, textFile{path: path, content: content})
	}
	if files != nil {
		return files, "", nil
	}
	return []textFile{{content: mixedtext.Prose}, {content: mixedtext.Code}, {content: mixedtext.Chat, spoken: true}},
		"no --calib: calibrating on the " + mixedtext.Name + " (prose, code, chat); text like the model's future input gives better results", nil
}

// isChats reports whether path has an extension of JSON lines.
func isChats(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".jsonl" || ext == ".ndjson"
}
