package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/internal/chat"
	"thimble/internal/defect"
	"thimble/internal/tokenizer"
)

// maxLine bounds one conversation, in bytes.
const maxLine = 16 << 20

// isChats reports whether a file is JSONL, which its name says.
func isChats(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".jsonl" || ext == ".ndjson"
}

// renderCommand is the process that a stranger's chat template runs in.
func renderCommand() *cli.Command {
	return &cli.Command{
		Name:            "__render",
		Hidden:          true,
		SkipFlagParsing: true,
		Action:          func(c *cli.Context) error { return chat.Serve(stdin(c.Context), c.App.Writer) },
	}
}

// startRenderer starts a process that renders template.
func startRenderer(ctx context.Context, template string, specials map[string]string) (*chat.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "__render")
	cmd.Args[0] = "thimble"
	return chat.Start(ctx, cmd, template, specials)
}

// chatTokens returns the tokens of a JSONL file, one line after the other: those
// of a text as of any other, those of a conversation as its rendered text spells
// them, with nothing added, as transformers has it.
func chatTokens(c *cli.Context, tok *tokenizer.Tokenizer, d *tokenizer.Data, model, path, text string) (ids []int, err error) {
	progress := newMeter(c, "render", "MB", 1e6)
	defer progress.done()
	var renderer *chat.Process
	base := 0
	for n := 1; base < len(text); n++ {
		line, _, _ := strings.Cut(text[base:], "\n")
		at := base
		base += len(line) + 1
		if strings.TrimSpace(line) == "" {
			continue
		}
		if len(line) > maxLine {
			return nil, fmt.Errorf("%s: line %d takes %s, more than %s", defect.Printable(path), n, bytesText(int64(len(line))), bytesText(maxLine))
		}
		l, err := chat.ParseLine(path, at, []byte(line))
		if err != nil {
			return nil, err
		}
		if l.Messages != nil {
			if renderer == nil {
				if d.ChatTemplate == "" {
					return nil, fmt.Errorf("%s: line %d is a conversation, and %s has no chat template; put the checkpoint's tokenizer_config.json or chat_template.jinja beside its weights, or give plain text or lines of {\"text\": ...}",
						defect.Printable(path), n, defect.Printable(model))
				}
				if renderer, err = startRenderer(c.Context, d.ChatTemplate, chat.Specials(d)); err != nil {
					return nil, fmt.Errorf("%s: %w", defect.Printable(model), err)
				}
				defer renderer.Close()
			}
			if l.Text, err = renderer.Render(c.Context, l.Messages); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", defect.Printable(path), n, err)
			}
		}
		more, err := encode(c.Context, tok, l.Text, l.Messages == nil)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
		progress.at(int64(min(base, len(text))), int64(len(text)))
	}
	return ids, nil
}
