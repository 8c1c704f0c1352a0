package thimble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"

	"thimble/internal/chat"
	"thimble/internal/defect"
	"thimble/internal/mixedtext"
	"thimble/internal/tokenizer"
	"thimble/internal/units"
)

// ServeTemplates renders chat templates for another process: it reads requests from
// r and writes responses to w until r ends. The program that Calibration.Render names
// calls it.
func ServeTemplates(r io.Reader, w io.Writer) error { return chat.Serve(r, w) }

// maxLine is the length of the longest conversation, in bytes.
const maxLine = 16 << 20

// isChats reports whether path has an extension of JSON lines.
func isChats(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".jsonl" || ext == ".ndjson"
}

// A chatFile is a file of JSON lines with conversations or texts.
type chatFile struct {
	path, text string
	model      string // path, for errors
	tok        *tokenizer.Tokenizer
	data       *tokenizer.Data
	render     []string // see Calibration.Render
}

// tokens returns the tokens of all lines. It encodes texts as usual, and conversations
// as the model's template renders them, without adding tokens, as transformers does.
func (f *chatFile) tokens(ctx context.Context, progress func(done, total int64)) (ids []int, err error) {
	var renderer *chat.Process
	next := 0 // offset of the next line
	for n := 1; next < len(f.text); n++ {
		line, _, _ := strings.Cut(f.text[next:], "\n")
		offset := next
		next += len(line) + 1
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("%s: line %d takes %s, more than %s", defect.Printable(f.path), n, units.Size(int64(len(line))), units.Size(maxLine))
		}
		l, err := chat.ParseLine(f.path, offset, []byte(line))
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
			if l.Text, err = renderer.Render(ctx, l.Messages); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", defect.Printable(f.path), n, err)
			}
		}
		more, err := Encode(ctx, f.tok, l.Text, l.Messages == nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
		progress(int64(min(next, len(f.text))), int64(len(f.text)))
	}
	return ids, nil
}

// builtin returns the tokens of the built-in conversations, rendered like others. Without
// a chat template that renders them, they are plain text.
func (f *chatFile) builtin(ctx context.Context, progress func(done, total int64)) ([]int, error) {
	plain := f.text
	if f.data.ChatTemplate != "" && len(f.render) > 0 {
		var err error
		if f.text, err = mixedtext.Conversations(); err != nil {
			return nil, err
		}
		if ids, err := f.tokens(ctx, progress); err == nil || ctx.Err() != nil {
			return ids, err
		}
	}
	return Encode(ctx, f.tok, plain, true)
}

// start starts a process that renders the model's template. n is the line number of the
// first conversation, for errors.
func (f *chatFile) start(ctx context.Context, n int) (*chat.Process, error) {
	if f.data.ChatTemplate == "" {
		return nil, fmt.Errorf("%s: line %d is a conversation, and %s has no chat template; put the checkpoint's tokenizer_config.json or chat_template.jinja next to its weights, or give plain text or lines of {\"text\": ...}",
			defect.Printable(f.path), n, defect.Printable(f.model))
	}
	if len(f.render) == 0 {
		return nil, errors.New("conversations need a program that renders chat templates: set Calibration.Render")
	}
	cmd := exec.CommandContext(ctx, f.render[0], f.render[1:]...)
	p, err := chat.Start(ctx, cmd, f.data.ChatTemplate, chat.Specials(f.data))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(f.model), err)
	}
	return p, nil
}
