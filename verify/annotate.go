package verify

import (
	"fmt"
	"strings"
)

var (
	annotationText  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	annotationTitle = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

// Annotations are the workflow commands by which GitHub Actions shows what went
// wrong at the top of a run: an error for each gate that was missed and each figure
// that is worse than the baseline, a warning for each gate that is undecided, nothing
// where all is well.
func (r *Report) Annotations() string {
	var b strings.Builder
	for i := range r.Gates {
		c := &r.Gates[i]
		level := map[string]string{missed: "error", undecided: "warning"}[r.outcome(c)]
		if level == "" {
			continue
		}
		title := fmt.Sprintf("%s: %s %s", shown(baseName(r.Model.Path)), c.Metric, strings.ToLower(r.outcome(c)))
		text := r.reason(c)
		if r.Against != "" {
			text += ", against " + shown(r.Against)
		}
		if r.Diagnosis != "" {
			text += "; " + shown(r.Diagnosis)
		}
		fmt.Fprintf(&b, "::%s title=%s::%s\n", level, annotationTitle.Replace(title), annotationText.Replace(text))
	}
	for _, f := range r.worse() {
		title := fmt.Sprintf("%s: %s worse than the baseline", shown(baseName(r.Model.Path)), f.Name)
		fmt.Fprintf(&b, "::error title=%s::%s\n", annotationTitle.Replace(title), annotationText.Replace(f.sentence()))
	}
	return b.String()
}
