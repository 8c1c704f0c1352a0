package text

import (
	"fmt"
	"strings"

	"thimble"
	"thimble/cmd/thimble/internal/terminal"
	"thimble/internal/defect"
	"thimble/internal/units"
)

// Exported lists each type with its number of tensors and bytes.
func Exported(r *thimble.Exported) string {
	var b strings.Builder
	writeNotes(&b, r.Notes)
	var order []string
	count, bytes := map[string]int{}, map[string]int64{}
	for _, t := range r.Tensors {
		if count[t.Type] == 0 {
			order = append(order, t.Type)
		}
		count[t.Type]++
		bytes[t.Type] += t.Bytes
	}
	for _, name := range order {
		fmt.Fprintf(&b, "  %-5s %5d tensors  %9s\n", name, count[name], units.Size(bytes[name]))
	}
	if r.Output == "" {
		fmt.Fprintf(&b, "dry run: nothing was written, the file would have %s\n", units.Size(r.Bytes))
	} else {
		fmt.Fprintf(&b, "wrote %s, %s\n%s", defect.Printable(r.Output), units.Size(r.Bytes), digestText(r.SHA256, r.Files))
		b.WriteString(modelfileText(r.Modelfile))
	}
	return b.String()
}

// writeNotes writes each note to a line.
func writeNotes(b *strings.Builder, notes []string) {
	for _, note := range notes {
		fmt.Fprintln(b, "note:", terminal.OneLine(note))
	}
}

// digestText is about a written file or the files of a folder.
func digestText(sha256 string, files []thimble.WrittenFile) string {
	if len(files) == 0 {
		return fmt.Sprintf("sha256 %s\n", sha256)
	}
	var b strings.Builder
	for _, f := range files {
		fmt.Fprintf(&b, "sha256 %s  %s\n", f.SHA256, f.Name)
	}
	return b.String()
}

// modelfileText says what to do with a Modelfile, or returns "" for none.
func modelfileText(path string) string {
	if path == "" {
		return ""
	}
	return fmt.Sprintf("wrote %s: ollama create NAME -f %[1]s, then ollama run NAME\n", defect.Printable(path))
}
