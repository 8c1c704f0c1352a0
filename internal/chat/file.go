package chat

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/mixedtext"
	"thimble/internal/tokenizer"
	"thimble/internal/units"
)

// maxLine is the length of the longest conversation, in bytes.
const maxLine = 16 << 20

// A File is a file of JSON lines with conversations or texts.
type File struct {
	Path, Text string
	Model      string // path, for errors
	Data       *tokenizer.Data
	Render     []string // the program that runs Serve, with its arguments
	// Encode returns the tokens of text, with those that start and end a text if special.
	Encode func(ctx context.Context, text string, special bool) ([]int, error)
}

// Tokens returns the tokens of all lines. It encodes texts as usual, and conversations
// as the model's template renders them, without adding tokens, as transformers does.
func (f *File) Tokens(ctx context.Context, progress func(done, total int64)) (ids []int, err error) {
	var renderer *Process
	next := 0 // offset of the next line
	for n := 1; next < len(f.Text); n++ {
		line, _, _ := strings.Cut(f.Text[next:], "\n")
		offset := next
		next += len(line) + 1
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("%s: line %d takes %s, more than %s", defect.Printable(f.Path), n, units.Size(int64(len(line))), units.Size(maxLine))
		}
		l, err := ParseLine(f.Path, offset, []byte(line))
		if err != nil {
			return nil, err
		}
		if l.Messages != nil {
			if renderer == nil {
				if renderer, err = f.start(ctx, n); err != nil {
					return nil, err
				}
				defer renderer.Close()
			}
			if l.Text, err = renderer.Render(ctx, Conversation{Messages: l.Messages}); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", defect.Printable(f.Path), n, err)
			}
		}
		more, err := f.Encode(ctx, l.Text, l.Messages == nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
		progress(int64(min(next, len(f.Text))), int64(len(f.Text)))
	}
	return ids, nil
}

// Builtin returns the tokens of the built-in conversations, rendered like others. Without
// a chat template that renders them, they are plain text.
func (f *File) Builtin(ctx context.Context, progress func(done, total int64)) ([]int, error) {
	plain := f.Text
	if f.Data.ChatTemplate != "" && len(f.Render) > 0 {
		var err error
		if f.Text, err = mixedtext.Conversations(); err != nil {
			return nil, err
		}
		if ids, err := f.Tokens(ctx, progress); err == nil || ctx.Err() != nil {
			return ids, err
		}
	}
	return f.Encode(ctx, plain, true)
}

// start starts a process that renders the model's template. n is the line number of the
// first conversation, for errors.
func (f *File) start(ctx context.Context, n int) (*Process, error) {
	if f.Data.ChatTemplate == "" && f.Data.ToolTemplate != "" {
		return nil, fmt.Errorf("%s: line %d: %w", defect.Printable(f.Path), n, ErrToolsOnly)
	}
	if f.Data.ChatTemplate == "" {
		return nil, fmt.Errorf("%s: line %d is a conversation, and %s has no chat template; put the checkpoint's tokenizer_config.json or chat_template.jinja next to its weights, or give plain text or lines of {\"text\": ...}",
			defect.Printable(f.Path), n, defect.Printable(f.Model))
	}
	if len(f.Render) == 0 {
		return nil, errors.New("conversations need a program that renders chat templates: set File.Render")
	}
	cmd := exec.CommandContext(ctx, f.Render[0], f.Render[1:]...)
	p, err := Start(ctx, cmd, f.Data.ChatTemplate, Specials(f.Data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(f.Model), err)
	}
	return p, nil
}
