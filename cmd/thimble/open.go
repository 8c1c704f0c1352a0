package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"thimble/convert"
	"thimble/format"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/tokenizer"
)

// setFlag changes a checkpoint's config before it is read. In quantize it sets
// the scheme of tensors too: see splitSet.
var setFlag = &cli.StringSliceFlag{
	Name: "set", Usage: "override `KEY=VALUE` of the checkpoint's config.json, such as layer_sharing=true (repeatable)",
}

// jsonFlag asks for one JSON document on standard output.
var jsonFlag = &cli.BoolFlag{Name: "json", Usage: "print one JSON document instead of a table"}

var quietFlag = &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress on standard error"}

// oneModel returns the single argument of a command that takes a model.
func oneModel(c *cli.Context) (string, error) {
	if c.NArg() != 1 {
		return "", fmt.Errorf("%s takes one model, got %d arguments; see thimble %s --help", c.Command.Name, c.NArg(), c.Command.Name)
	}
	return c.Args().First(), nil
}

// openModel opens whatever path holds: a container by its first bytes, anything
// else as a checkpoint. overrides are --set values.
func openModel(path string, overrides []string) (*model.Model, error) {
	if !isContainer(path) {
		return convert.Open(path, convert.Options{Set: overrides})
	}
	if len(overrides) > 0 {
		return nil, fmt.Errorf("%s: --set changes how a checkpoint is read; a container has its config built in, convert the checkpoint again", model.Printable(path))
	}
	return format.Open(path)
}

func isContainer(path string) bool {
	_, ok := format.Sniff(path)
	return ok
}

// openTokenizer returns m's tokenizer, or an error that says how to give one.
func openTokenizer(m *model.Model) (*tokenizer.Tokenizer, error) {
	data, err := m.Tokenizer()
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, fmt.Errorf("%s: there is no tokenizer; put the checkpoint's tokenizer.json beside its weights", model.Printable(m.Path))
	}
	return tokenizer.New(data)
}

// readText reads a file of at most 1 GiB, or standard input for "-".
func readText(path string) (string, error) {
	const limit = 1 << 30
	in := os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && len(text) > limit {
		err = errors.New("text is larger than 1 GiB")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", model.Printable(path), err)
	}
	return string(text), nil
}

// hashFiles returns name, length and SHA-256 of each file, several at a time.
func hashFiles(ctx context.Context, paths []string) ([]model.Source, error) {
	sources := make([]model.Source, len(paths))
	err := parallel.Do(ctx, len(paths), func(_, i int) error {
		f, err := os.Open(paths[i])
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(h, f)
		sources[i] = model.Source{Name: filepath.Base(paths[i]), Bytes: n, SHA256: h.Sum(nil)}
		return err
	})
	return sources, err
}
