package thimble

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"thimble/convert"
	"thimble/format"
	container "thimble/format/thimble"
	"thimble/internal/defect"
	"thimble/internal/digest"
	"thimble/internal/hub"
	"thimble/internal/model"
	"thimble/internal/stray"
	"thimble/internal/texts"
	"thimble/internal/tokenizer"
	"thimble/verify"
)

// Open opens the model at path. It recognizes a container or a GGUF file by its first
// bytes, and opens anything else as a checkpoint, with its config changed by the
// overrides ("layer_sharing=true", "--drop=*.router.*"). It does not read the weights; call the model's Verify
// before you use them. Close the model after use. If the file is not a model, the error
// says what it looks like and what to do with it.
func Open(path string, overrides ...string) (*Model, error) {
	if err := missing("", path); err != nil {
		return nil, err
	}
	m, err := open(path, overrides)
	if err == nil {
		return m, nil
	}
	if text, ok := stray.Look(path); ok {
		return nil, defect.Replace(err, fmt.Sprintf("%s: not a model: %s", defect.Printable(path), text))
	}
	return nil, err
}

// missing returns an error if there is no file or directory at path, the value of flag or,
// if that is "", an argument.
func missing(flag, path string) error {
	if err := hub.Missing(path); err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return defect.Replace(err, strings.TrimLeft(flag+" ", " ")+defect.Printable(path)+
			": no such file or directory; give a model file or a folder with config.json")
	}
	return nil
}

func open(path string, overrides []string) (*Model, error) {
	if isCheckpoint(path) {
		return convert.Open(path, convert.Options{Set: overrides})
	}
	if len(overrides) > 0 {
		return nil, fmt.Errorf("%s: --set, --drop and --lora change how a checkpoint is read; this file has its config built in, convert the checkpoint again", defect.Printable(path))
	}
	return format.Open(path)
}

// openVerified opens a model and verifies its weights.
func openVerified(ctx context.Context, path string, overrides []string, progress Progress) (*Model, error) {
	m, err := Open(path, overrides...)
	if err != nil {
		return nil, err
	}
	if err := verifyWeights(ctx, m, progress); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// verifyWeights compares the weights of m with the checksums that its files contain:
// every tensor of a container has a digest, PyTorch's zip files have a checksum of each
// entry, and other files have none. An operation calls it once it knows that it will read
// the weights, before it writes anything.
//
// It reads the file once more than the operation does: a container at the speed of
// SHA-256 on all cores, and from memory if the file fits there.
func verifyWeights(ctx context.Context, m *model.Model, progress Progress) error {
	if m.Verify == nil {
		return nil
	}
	return m.Verify(ctx, progress.stage("check", Bytes))
}

// isCheckpoint reports whether path is a checkpoint, whose config is a separate file.
func isCheckpoint(path string) bool {
	_, ok := format.Sniff(path)
	return !ok
}

// overridesFor returns the overrides that apply to the model at path, which is
// compared with the one at other. They apply to checkpoints: if only other is one,
// they are for other alone.
func overridesFor(overrides []string, path, other string) []string {
	if !isCheckpoint(path) && other != "" && isCheckpoint(other) {
		return nil
	}
	return overrides
}

// isContainer reports whether path is a .thimble file. No other format has digests and
// recorded gates.
func isContainer(path string) bool {
	name, _ := format.Sniff(path)
	return name == container.Name
}

// formatOf returns the format of path: "thimble", "GGUF" or "checkpoint".
func formatOf(path string) string {
	name, ok := format.Sniff(path)
	if !ok {
		return "checkpoint"
	}
	return name
}

// OpenTokenizer opens a bare tokenizer.json or tokenizer.model, or the tokenizer of a
// model.
func OpenTokenizer(path string, overrides ...string) (*Tokenizer, error) {
	if ext := filepath.Ext(path); ext != ".json" && ext != ".model" && ext != ".tiktoken" {
		m, err := Open(path, overrides...)
		if err != nil {
			return nil, err
		}
		defer m.Close()
		tok, _, err := texts.Tokenizer(m)
		return tok, err
	}
	data, err := convert.OpenTokenizer(path)
	if err != nil {
		return nil, err
	}
	return tokenizer.New(data)
}

// identify returns the path, size and digest of a model for a report.
func identify(ctx context.Context, m *model.Model, progress Progress) (verify.ModelInfo, error) {
	weights, bytes := m.Size()
	info := verify.ModelInfo{Path: m.Path, BitsPerWeight: 8 * float64(bytes) / float64(weights)}
	sources, err := digest.Files(ctx, m.Files, progress.stage("hash", Bytes))
	for _, s := range sources {
		info.Bytes += s.Bytes
	}
	info.SHA256 = hex.EncodeToString(digest.Main(sources))
	return info, err
}
