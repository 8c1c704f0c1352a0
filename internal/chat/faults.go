package chat

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"thimble/internal/tokenizer"
)

// Faults returns a sentence for each chat template of d that does not compile. render is a
// program, with its arguments, that runs Serve: compiling is not safe in this process.
func Faults(ctx context.Context, render []string, d *tokenizer.Data) (all []string) {
	for _, t := range []struct{ name, source, what string }{
		{"chat template", d.ChatTemplate, "conversations"},
		{"chat template for tools", d.ToolTemplate, "conversations with tools"},
	} {
		if t.source == "" {
			continue
		}
		p, err := Start(ctx, exec.CommandContext(ctx, render[0], render[1:]...), t.source, Specials(d))
		switch {
		case err == nil:
			p.Close()
		case ctx.Err() != nil:
			return nil
		default:
			all = append(all, fmt.Sprintf("the %s does not work, so chat and serve refuse %s: %s", t.name, t.what, strings.TrimPrefix(err.Error(), "chat template: ")))
		}
	}
	return all
}
