package thimble

import (
	"io"

	"thimble/internal/chat"
	"thimble/internal/model"
)

// ServeTemplates renders chat templates for another process: it reads requests from
// r and writes responses to w until r ends. The program that Calibration.Render names
// calls it.
func ServeTemplates(r io.Reader, w io.Writer) error { return chat.Serve(r, w) }

// noteTemplates adds notes to m about chat templates that do not compile, which chat would find
// out last.
func noteTemplates(m *model.Model) {
	if m.Tokenizer == nil {
		return
	}
	if d, err := m.Tokenizer(); err == nil && d != nil {
		m.Notes = append(m.Notes, chat.Faults(d)...)
	}
}
