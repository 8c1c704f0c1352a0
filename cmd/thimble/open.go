package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"thimble/convert"
	"thimble/format"
	"thimble/format/thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
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
	switch {
	case c.NArg() == 1 && c.Args().First() == "":
		return "", fmt.Errorf("%s: the model's path is empty", c.Command.Name)
	case c.NArg() != 1:
		return "", fmt.Errorf("%s takes one model, got %d arguments; see thimble %s --help", c.Command.Name, c.NArg(), c.Command.Name)
	}
	return c.Args().First(), nil
}

// openModel opens whatever path holds: a container or a GGUF file by its first
// bytes, anything else as a checkpoint. overrides are --set values.
func openModel(path string, overrides []string) (*model.Model, error) {
	if isCheckpoint(path) {
		return convert.Open(path, convert.Options{Set: overrides})
	}
	if len(overrides) > 0 {
		return nil, fmt.Errorf("%s: --set changes how a checkpoint is read; this file has its config built in, convert the checkpoint again", defect.Printable(path))
	}
	return format.Open(path)
}

// openSound opens a model whose weights are to be used now: first they are
// compared with the checksums that the file has of its own, which only PyTorch's
// zip files do. That reads every byte, as using the weights does, so of what fits
// in memory the disk is read once. A container has digests that inspect --check
// compares.
func openSound(path string, overrides []string) (*model.Model, error) {
	m, err := openModel(path, overrides)
	if err != nil || m.Verify == nil {
		return m, err
	}
	if err := m.Verify(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// isCheckpoint reports that path is not a model whose config is built in.
func isCheckpoint(path string) bool {
	_, ok := format.Sniff(path)
	return !ok
}

// overridesOf is what --set changes of the model at path, which is compared with
// the one at other: it is about a checkpoint, so a model whose config is built in
// leaves it to a checkpoint beside it.
func overridesOf(c *cli.Context, path, other string) []string {
	if !isCheckpoint(path) && other != "" && isCheckpoint(other) {
		return nil
	}
	return c.StringSlice(setFlag.Name)
}

// isContainer reports that path is a .thimble, which alone has digests and gates.
func isContainer(path string) bool {
	name, _ := format.Sniff(path)
	return name == thimble.Name
}

// formatOf names what path holds, as people know it.
func formatOf(path string) string {
	name, ok := format.Sniff(path)
	if !ok {
		return "checkpoint"
	}
	return name
}

// openTokenizer returns m's tokenizer, or an error that says how to give one.
func openTokenizer(m *model.Model) (*tokenizer.Tokenizer, error) {
	_, tok, err := openTokenizerData(m)
	return tok, err
}

// openTokenizerData also returns what the tokenizer was made of.
func openTokenizerData(m *model.Model) (*tokenizer.Data, *tokenizer.Tokenizer, error) {
	data, err := m.Tokenizer()
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		return nil, nil, fmt.Errorf("%s: there is no tokenizer; put the checkpoint's tokenizer.json beside its weights", defect.Printable(m.Path))
	}
	tok, err := tokenizer.New(data)
	return data, tok, err
}

// maxText bounds the texts that are tokenized.
const maxText = 1 << 30

// readText reads a text of at most limit bytes from a file, or from standard
// input for "-". It does not wait for a pipe when ctx ends.
func readText(ctx context.Context, path string, limit int64) (string, error) {
	return await(ctx, func() (string, error) {
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
		if err == nil && int64(len(text)) > limit {
			err = fmt.Errorf("is larger than %s", bytesText(limit))
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", defect.Printable(path), err)
		}
		return string(text), nil
	})
}

// stdin is standard input until ctx ends.
func stdin(ctx context.Context) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	go func() {
		_, err := io.Copy(w, os.Stdin)
		w.CloseWithError(err)
	}()
	return r
}

// encode returns the tokens of text, which may take seconds.
func encode(ctx context.Context, tok *tokenizer.Tokenizer, text string, special bool) ([]int, error) {
	return await(ctx, func() ([]int, error) { return tok.Encode(text, special), nil })
}

// await returns what f returns, or ctx's error as soon as ctx ends. Then f is
// left behind: it must be of no consequence to a process that is about to end.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// checkContext refuses positions that m was not trained for, whose text means
// nothing and whose cache may not fit.
func checkContext(m *model.Model, positions int, remedy string) error {
	if positions > m.Spec.Context {
		return fmt.Errorf("%s: %d positions are more than the model's context of %d; %s", defect.Printable(m.Path), positions, m.Spec.Context, remedy)
	}
	return nil
}
