package thimble

import (
	"io"

	"thimble/internal/chat"
)

// ServeTemplates renders chat templates for another process: it reads requests from
// r and writes responses to w until r ends. The program that Calibration.Render names
// calls it.
func ServeTemplates(r io.Reader, w io.Writer) error { return chat.Serve(r, w) }
