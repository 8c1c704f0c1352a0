// Package tokenfile reads and writes the files that define tokenizers: the tokenizer.json of
// Hugging Face, the tokenizer.model of sentencepiece, and the vocabularies of tiktoken. It
// rejects any feature that package tokenizer does not reproduce exactly, such as a pattern with
// a back-reference, and names it in the error.
package tokenfile

import "thimble/internal/tokenizer"

// Files holds the files of a folder besides a tokenizer.json. A missing file is nil.
type Files struct {
	Model    []byte // tokenizer.model
	Config   []byte // tokenizer_config.json
	Added    []byte // added_tokens.json
	Specials []byte // special_tokens_map.json

	Checkpoint []byte // config.json
}

// ParseModel reads the tokenizer of a folder as transformers does: pieces of sentencepiece or a
// vocabulary of tiktoken.
func ParseModel(files Files) (*tokenizer.Data, error) {
	read := readLlama
	if IsTiktoken(files.Model) {
		read = readTiktoken
	}
	d, err := read(files)
	if err != nil {
		return nil, err
	}
	return &d.Data, nil
}

// A draft is a Data that is being read from files.
type draft struct {
	tokenizer.Data
	vocabulary int // tokens of the model's own vocabulary in a tokenizer.json; 0 in other files
	index      index
	moved      []string // added tokens that a file lists with another id, for a note
}

func newDraft(model string) *draft {
	return &draft{Data: tokenizer.Data{Model: model, BOS: -1, EOS: -1, Pad: -1, Unk: -1}}
}
