package chat

import (
	"fmt"
	"strings"

	"thimble/internal/tokenizer"
)

// Faults returns a sentence for each chat template of d that does not compile. It runs none.
func Faults(d *tokenizer.Data) (all []string) {
	for _, t := range []struct{ name, source, what string }{
		{"chat template", d.ChatTemplate, "conversations"},
		{"chat template for tools", d.ToolTemplate, "conversations with tools"},
	} {
		if t.source == "" {
			continue
		}
		if _, err := Compile(t.source, nil); err != nil {
			all = append(all, fmt.Sprintf("the %s does not work, so chat and serve refuse %s: %s", t.name, t.what, strings.TrimPrefix(err.Error(), "chat template: ")))
		}
	}
	return all
}
