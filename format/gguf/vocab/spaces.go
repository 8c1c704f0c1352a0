package vocab

import "thimble/internal/tokenizer"

// Spacings lists the ways in which a tokenizer.json made from a sentencepiece model turns
// spaces into marks, and whether it puts a mark before a text.
var Spacings = []struct {
	Normalizer []tokenizer.Rule
	Steps      []tokenizer.Step
	Prefix     bool // a mark before a text
	Unless     bool // no prefix if the text begins with a space
}{
	{[]tokenizer.Rule{{Op: tokenizer.OpPrepend, New: Mark}, {Op: tokenizer.OpReplace, Old: " ", New: Mark}}, nil, true, false},
	{[]tokenizer.Rule{{Op: tokenizer.OpReplace, Old: " ", New: Mark}}, nil, false, false},
	{[]tokenizer.Rule{{Op: tokenizer.OpReplace, Old: " ", New: Mark}}, []tokenizer.Step{tokenizer.StepAfterSpace}, false, false},
	{nil, []tokenizer.Step{tokenizer.StepEscape}, false, false},
	{nil, []tokenizer.Step{tokenizer.StepEscape, tokenizer.StepMark}, true, true},
	{nil, []tokenizer.Step{tokenizer.StepEscape, tokenizer.StepMarkFirst}, true, true},
}

// MaxPiece is the longest token, in bytes, whose merges are searched for.
const MaxPiece = 1024
