package thimble

import (
	"io"
	"path/filepath"
	"strings"

	"thimble/internal/chat"
)

// ServeTemplates renders chat templates for another process: it reads requests from
// r and writes responses to w until r ends. The program that Calibration.Render names
// calls it.
func ServeTemplates(r io.Reader, w io.Writer) error { return chat.Serve(r, w) }

// isChats reports whether path has an extension of JSON lines.
func isChats(path string) bool {
	ext := strings.ToLower(filepath.Ext(path))
	return ext == ".jsonl" || ext == ".ndjson"
}
