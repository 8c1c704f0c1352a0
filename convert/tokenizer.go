package convert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"unicode/utf8"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
)

const (
	tokenizerName       = "tokenizer.json"
	tokenizerConfigName = "tokenizer_config.json"
	templateName        = "chat_template.jinja"

	maxTokenizer       = 128 << 20 // bytes
	maxTokenizerConfig = 16 << 20
	maxTemplate        = 1 << 20
)

// lazyTokenizer adds the tokenizer's files to m.Files and returns the function
// that reads them once.
func lazyTokenizer(m *model.Model, dir *checkpoint.Dir) func() (*tokenizer.Data, error) {
	if dir.Has(tokenizerName) {
		for _, name := range []string{tokenizerName, tokenizerConfigName, templateName} {
			if dir.Has(name) {
				m.Files = append(m.Files, filepath.Join(dir.Path, name))
			}
		}
	}
	folder, vocab := dir.Path, m.Spec.Vocab
	return sync.OnceValues(func() (*tokenizer.Data, error) {
		dir, err := checkpoint.OpenDir(folder)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		d, err := readTokenizer(dir, tokenizerName)
		if errors.Is(err, os.ErrNotExist) {
			return nil, otherTokenizer(dir)
		}
		if err == nil && d != nil && len(d.Tokens) > vocab {
			return nil, defect.Corrupt(filepath.Join(folder, tokenizerName), "", "%d tokens, the embedding has %d rows", len(d.Tokens), vocab)
		}
		return d, err
	})
}

// OpenTokenizer reads a tokenizer.json without its model, but with the
// tokenizer_config.json and the chat template that lie beside it; or a
// tokenizer.model by itself, which gives what the sentencepiece package does.
func OpenTokenizer(path string) (*tokenizer.Data, error) {
	dir, err := checkpoint.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	var d *tokenizer.Data
	if filepath.Ext(path) == ".model" {
		d, err = readPieces(dir, filepath.Base(path))
	} else {
		d, err = readTokenizer(dir, filepath.Base(path))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no such file", defect.Printable(path))
	}
	return d, err
}

// readPieces reads a tokenizer.model.
func readPieces(dir *checkpoint.Dir, name string) (*tokenizer.Data, error) {
	b, err := dir.ReadFile(name, maxTokenizer)
	if err != nil {
		return nil, err
	}
	d, err := tokenizer.ParseSentencePiece(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(dir.Path), err)
	}
	return d, nil
}

// readTokenizer reads the tokenizer of a directory from the file called name.
func readTokenizer(dir *checkpoint.Dir, name string) (*tokenizer.Data, error) {
	text, err := dir.ReadFile(name, maxTokenizer)
	if err != nil {
		return nil, err
	}
	d, err := tokenizer.ParseJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(dir.Path), err)
	}
	text, err = dir.ReadFile(tokenizerConfigName, maxTokenizerConfig)
	if err == nil {
		if err := d.ApplyConfig(text); err != nil {
			return nil, fmt.Errorf("%s: %w", defect.Printable(dir.Path), err)
		}
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// transformers 5 writes the chat template as a file, and prefers the file.
	text, err = dir.ReadFile(templateName, maxTemplate)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case !utf8.Valid(text):
		return nil, defect.Corrupt(filepath.Join(dir.Path, templateName), "", "not UTF-8")
	default:
		d.ChatTemplate = string(text)
	}
	return d, nil
}

// otherTokenizer refuses a tokenizer in a form that is not read.
func otherTokenizer(dir *checkpoint.Dir) error {
	switch {
	case dir.Has("tokenizer.model"):
		return fmt.Errorf("%s: %w; a copy of the checkpoint without it converts without a tokenizer", defect.Printable(dir.Path),
			defect.Unsupported("tokenizer.model", "a sentencepiece tokenizer"))
	case dir.Has("vocab.json"):
		return fmt.Errorf("%s: %w; load it with transformers' AutoTokenizer and save_pretrained writes %s", defect.Printable(dir.Path),
			defect.Unsupported("vocab.json", "a tokenizer without %s", tokenizerName), tokenizerName)
	}
	return nil
}
