package convert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"

	"thimble/convert/config"
	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/tokenfile"
)

const (
	tokenizerName       = "tokenizer.json"
	piecesName          = "tokenizer.model"
	ranksName           = "tiktoken.model"
	ranksEnding         = ".tiktoken"
	tekkenName          = "tekken.json"
	vocabularyName      = "vocab.json"
	mergesName          = "merges.txt"
	addedName           = "added_tokens.json"
	specialsName        = "special_tokens_map.json"
	tokenizerConfigName = "tokenizer_config.json"
	templateName        = "chat_template.jinja"
	oldTemplateName     = "chat_template.json"
	templateFolder      = "additional_chat_templates" // more of them, by name
	templateEnding      = ".jinja"

	maxTokenizer       = 128 << 20 // bytes
	maxTokenizerConfig = 16 << 20
	maxTemplate        = 1 << 20
)

const noTokenizer = "no " + tokenizerName + " or " + piecesName + " here: the model gets no tokenizer, so it cannot take texts"

// lazyTokenizer adds the tokenizer's files to m.Files and returns a function that reads
// them on its first call.
func lazyTokenizer(m *model.Model, dir *checkpoint.Dir) func() (*tokenizer.Data, error) {
	var names []string
	switch name := tokenizerFile(dir); {
	case name == tekkenName:
		names = []string{name, tokenizerConfigName}
	case name == tokenizerName:
		names = []string{name, tokenizerConfigName}
		if config, _ := readOptional(dir, tokenizerConfigName, maxTokenizerConfig); !tokenfile.ListsAdded(config) {
			names = []string{name, tokenizerConfigName, addedName, specialsName}
		}
	case name == vocabularyName:
		names = []string{name, mergesName, tokenizerConfigName, addedName, specialsName}
	case name != "":
		names = []string{name, tokenizerConfigName, addedName, specialsName}
	case !dir.Has(vocabularyName): // see otherTokenizer
		m.Notes = append(m.Notes, noTokenizer)
	}
	for _, name := range names {
		if dir.Has(name) {
			m.Files = append(m.Files, filepath.Join(dir.Path, name))
		}
	}
	if len(names) > 0 {
		m.Files = append(m.Files, templateFiles(dir)...)
		if dir.Has(oldTemplateName) && !hasTemplate(dir) {
			m.Files = append(m.Files, filepath.Join(dir.Path, oldTemplateName))
		}
	}
	folder := dir.Path
	return sync.OnceValues(func() (*tokenizer.Data, error) {
		dir, err := checkpoint.OpenDir(folder)
		if err != nil {
			return nil, err
		}
		name := tokenizerFile(dir)
		if name == "" {
			return nil, otherTokenizer(dir)
		}
		return readTokenizer(dir, name)
	})
}

// tokenizerFile returns the name of the tokenizer's file, or "".
func tokenizerFile(dir *checkpoint.Dir) string {
	for _, name := range []string{tokenizerName, piecesName, ranksName} {
		if dir.Has(name) {
			return name
		}
	}
	names, _ := dir.Names()
	for _, name := range names {
		if filepath.Ext(name) == ranksEnding {
			return name
		}
	}
	if dir.Has(tekkenName) {
		return tekkenName
	}
	if dir.Has(vocabularyName) && dir.Has(mergesName) {
		return vocabularyName
	}
	return ""
}

// OpenTokenizer reads a tokenizer without its model: a tokenizer.json with the
// tokenizer_config.json and the chat template in the same folder, or a tokenizer.model
// alone, which then gives the ids of the sentencepiece package.
func OpenTokenizer(path string) (*Tokenizer, error) {
	dir, err := checkpoint.OpenDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var d *tokenizer.Data
	if ext := filepath.Ext(path); ext == ".model" || ext == ranksEnding {
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
	if tokenfile.IsTiktoken(b) {
		return readTokenizer(dir, name)
	}
	d, err := tokenfile.ParseSentencePiece(b)
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
	own, err := readOptional(dir, tokenizerConfigName, maxTokenizerConfig)
	if err != nil {
		return nil, err
	}
	files := tokenfile.Files{Config: own}
	if files.Checkpoint, err = readOptional(dir, config.Name, maxTokenizerConfig); err != nil {
		return nil, err
	}
	if name != tokenizerName || !tokenfile.ListsAdded(own) {
		if files.Added, err = readOptional(dir, addedName, maxTokenizerConfig); err != nil {
			return nil, err
		}
		if files.Specials, err = readOptional(dir, specialsName, maxTokenizerConfig); err != nil {
			return nil, err
		}
	}
	var d *tokenizer.Data
	if name == vocabularyName {
		d, err = readVocabulary(dir, text, files)
	} else if filepath.Ext(name) != ".json" {
		d, err = readLlama(text, files)
	} else if tokenfile.IsTekken(name) {
		d, err = tokenfile.ParseTekken(text, own)
	} else {
		d, err = tokenfile.ParseFolder(text, files)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(dir.Path), err)
	}
	return d, readTemplate(dir, d)
}

// readOptional reads a file, or returns nil if it does not exist.
func readOptional(dir *checkpoint.Dir, name string, limit int64) ([]byte, error) {
	b, err := dir.ReadFile(name, limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// readVocabulary reads the tokenizer of a directory that has a vocab.json and a merges.txt.
func readVocabulary(dir *checkpoint.Dir, vocab []byte, files tokenfile.Files) (*tokenizer.Data, error) {
	merges, err := dir.ReadFile(mergesName, maxTokenizer)
	if err != nil {
		return nil, err
	}
	d, err := tokenfile.ParseVocabulary(vocab, merges, files)
	if errors.Is(err, defect.ErrUnsupported) {
		err = fmt.Errorf("%w; %s", err, savesTokenizer)
	}
	return d, err
}

// savesTokenizer says how to get a tokenizer.json.
const savesTokenizer = "load it with transformers' AutoTokenizer and save_pretrained writes " + tokenizerName

// readLlama reads the tokenizer of a directory that has no tokenizer.json.
func readLlama(pieces []byte, files tokenfile.Files) (*tokenizer.Data, error) {
	files.Model = pieces
	d, err := tokenfile.ParseModel(files)
	if errors.Is(err, defect.ErrUnsupported) {
		err = fmt.Errorf("%w; a copy of the checkpoint without its tokenizer converts without one", err)
	}
	return d, err
}

// readTemplate reads the chat templates from their own files, if there are any: transformers 5
// writes those files, and prefers them to all in tokenizer_config.json.
func readTemplate(dir *checkpoint.Dir, d *tokenizer.Data) error {
	files := templateFiles(dir)
	if len(files) > 0 {
		d.ChatTemplate, d.ToolTemplate = "", ""
	}
	for _, file := range files {
		text, err := (&checkpoint.Dir{Path: filepath.Dir(file)}).ReadFile(filepath.Base(file), maxTemplate)
		if err != nil {
			return err
		}
		if !utf8.Valid(text) {
			return defect.Corrupt(file, "", "not UTF-8")
		}
		name := strings.TrimSuffix(filepath.Base(file), templateEnding)
		if filepath.Dir(file) == filepath.Clean(dir.Path) {
			name = "default"
		}
		d.SetTemplate(name, string(text))
	}
	return readOldTemplate(dir, d)
}

// readOldTemplate reads the chat template from the file of a processor that transformers wrote
// before there were others, if d has none (Mistral Small 3.1).
func readOldTemplate(dir *checkpoint.Dir, d *tokenizer.Data) error {
	if d.ChatTemplate != "" || d.ToolTemplate != "" {
		return nil
	}
	text, err := readOptional(dir, oldTemplateName, maxTokenizerConfig)
	if err != nil || text == nil {
		return err
	}
	if err := tokenfile.ParseTemplate(oldTemplateName, text, d); err != nil {
		return fmt.Errorf("%s: %w", defect.Printable(dir.Path), err)
	}
	return nil
}

// hasTemplate reports whether the tokenizer's files have another template than that of
// readOldTemplate.
func hasTemplate(dir *checkpoint.Dir) bool {
	config, _ := readOptional(dir, tokenizerConfigName, maxTokenizerConfig)
	return len(templateFiles(dir)) > 0 || tokenfile.HasTemplate(config)
}

// templateFiles returns the paths of the chat templates that have files of their own.
func templateFiles(dir *checkpoint.Dir) (paths []string) {
	if dir.Has(templateName) {
		paths = append(paths, filepath.Join(dir.Path, templateName))
	}
	more := &checkpoint.Dir{Path: filepath.Join(dir.Path, templateFolder)}
	names, _ := more.Names() // most checkpoints have no such folder
	for _, name := range names {
		if filepath.Ext(name) == templateEnding {
			paths = append(paths, filepath.Join(more.Path, name))
		}
	}
	return paths
}

// otherTokenizer returns an error if dir has a tokenizer in an unsupported form.
func otherTokenizer(dir *checkpoint.Dir) error {
	if dir.Has(vocabularyName) {
		return fmt.Errorf("%s: %w; %s", defect.Printable(dir.Path), defect.Unsupported(vocabularyName, "a tokenizer without %s or %s", tokenizerName, mergesName), savesTokenizer)
	}
	return nil
}
