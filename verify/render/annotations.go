package render

import (
	"fmt"
	"strings"

	"thimble/verify"
)

var (
	annotationText  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	annotationTitle = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// Annotations are workflow commands, by which GitHub Actions shows at the top of a
// run what went wrong: an error for each missed gate and each figure that is worse
// than the baseline, a warning for each undecided gate. They are empty if all is
// well.
func Annotations(r *verify.Report) string {
	var b strings.Builder
	for i := range r.Gates {
		c := &r.Gates[i]
		level := map[string]string{verify.Missed: "error", verify.Undecided: "warning"}[c.Outcome]
		if level == "" {
			continue
		}
		title := fmt.Sprintf("%s: %s %s", printable(baseName(r.Model.Path)), c.Metric, strings.ToLower(c.Outcome))
		text := reason(r, c)
		if r.Against != "" {
			text += ", against " + printable(r.Against)
		}
		if r.Diagnosis != "" {
			text += "; " + printable(r.Diagnosis)
		}
		fmt.Fprintf(&b, "::%s title=%s::%s\n", level, annotationTitle.Replace(title), annotationText.Replace(text))
	}
	for _, f := range r.Baseline.Worse() {
		title := fmt.Sprintf("%s: %s worse than the baseline", printable(baseName(r.Model.Path)), f.Name)
		fmt.Fprintf(&b, "::error title=%s::%s\n", annotationTitle.Replace(title), annotationText.Replace(figureSentence(f)))
	}
	return b.String()
}
