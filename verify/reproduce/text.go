package reproduce

import (
	"cmp"
	"fmt"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/textwrap"
)

// Text returns the report for a terminal.
func Text(r *Report) string {
	var b strings.Builder
	model, from := defect.Printable(r.Model), defect.Printable(r.From)
	if r.Identical {
		fmt.Fprintf(&b, "identical: made from %s again, all %d tensors and the metadata are those of %s\n", from, r.Tensors, model)
		fmt.Fprintf(&b, "  sha256    %s\n", r.Recorded)
		if r.Recorded != r.Made { // gates and provenance are in it, too
			fmt.Fprintf(&b, "  made now  %s, of a header or file that differs elsewhere\n", r.Made)
		}
		for _, f := range r.Provenance {
			fmt.Fprintf(&b, "  %s: was %s, is %s\n", defect.Printable(f.Field), shown(f.A), shown(f.B))
		}
		return b.String()
	}
	fmt.Fprintf(&b, "different: made from %s again, %d of %d tensors and %d fields of the metadata are not those of %s\n", from, r.Different, r.Tensors, len(r.Metadata), model)
	if t := r.First; t != nil {
		fmt.Fprintf(&b, "  first     %s\n", defect.Printable(t.Name))
		for _, side := range []struct {
			name string
			Stored
		}{{"recorded", t.Recorded}, {"made now", t.Made}} {
			fmt.Fprintf(&b, "  %s  %s  %s\n", side.name, cmp.Or(side.SHA256, "absent"), side.Scheme)
		}
	}
	for _, f := range r.Metadata {
		fmt.Fprintf(&b, "  %s: was %s, is %s\n", defect.Printable(f.Field), shown(f.A), shown(f.B))
	}
	b.WriteString("possible causes\n")
	for _, cause := range r.Causes {
		b.WriteString("  - ")
		textwrap.Write(&b, cause, 4, 4, 80)
	}
	return b.String()
}
