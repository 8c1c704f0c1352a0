package calibration

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"thimble/internal/generate"
	"thimble/internal/model"
	"thimble/internal/texts"
	"thimble/quantize"
)

// Self, in the place of the paths of texts, is text that the model writes itself (LLM-QAT, arXiv
// 2305.17888), and the name of that text in a recipe. A model without a tokenizer has no other.
const Self = "self"

// writes reports whether a run with recipe r is calibrated on what the model writes.
func (o *Options) writes(r *quantize.Recipe) bool {
	if len(o.Texts) == 0 {
		return r.Texts != nil && r.Texts.Name == Self
	}
	return slices.Contains(o.Texts, Self)
}

// write is Read with texts that m writes. Each piece is a text of its own.
func (o *Options) write(ctx context.Context, m *model.Model, r *quantize.Recipe, want quantize.Texts, holdOut bool, progress func(done, total int64)) (cal Texts, err error) {
	if len(o.Texts) > 1 {
		return cal, fmt.Errorf("--calib %s is text that the model writes, and no other text goes with it; a file of that name is ./%s", Self, Self)
	}
	pieces := max(want.Tokens, r.Tune) / max(want.Context, 1)
	if holdOut && pieces == 1 {
		return cal, fmt.Errorf("--max-kl and --min-top1 are measured on held-out pieces of the calibration text; use --calib-tokens %d or more for two pieces", 2*want.Context)
	}
	if err := checkPieces(pieces*want.Context, want, holdOut); err != nil {
		return cal, err
	}
	written, err := generate.Write(ctx, m, pieces, want.Context, want.Seed, progress)
	if err != nil {
		return cal, fmt.Errorf("--calib %s: %w", Self, err)
	}
	ids := slices.Concat(written...)
	b := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	sum := sha256.Sum256(b)
	want.Name, want.SHA256 = Self, []string{hex.EncodeToString(sum[:])}
	if err := checkDigests(r, &want); err != nil {
		return cal, err
	}
	cal.Special = func(int) bool { return false }
	if tok, _, err := texts.Tokenizer(m); err == nil {
		cal.Special = tok.IsSpecial
	}
	if err := cal.cut(ids, r, want, -1, holdOut); err != nil {
		return cal, err
	}
	cal.Available = 0 // the model would write more
	return cal, nil
}
