package sweep

import (
	"fmt"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/shard"
	"thimble/internal/table"
)

// An Outcome is what a sweep has done, or would do.
type Outcome struct {
	Plan   string      `json:"plan"`
	Folder string      `json:"folder"`
	DryRun bool        `json:"dry_run,omitempty"`
	Shard  shard.Shard `json:"shard"`
	All    int         `json:"jobs_of_all_shards"`
	Jobs   []*Job      `json:"jobs"` // of this shard
	Notes  []string    `json:"notes,omitempty"`
}

// A Job is one combination of a model, a recipe and a text.
type Job struct {
	Model  string  `json:"model"`
	Recipe string  `json:"recipe"`
	Text   string  `json:"text"`
	Work   float64 `json:"work"` // estimated share of the work of the whole plan
	State  State   `json:"state"`
	Result string  `json:"result"` // name of the file in the folder, without .json

	Inputs Inputs `json:"-"`

	text  int     // in the plan
	found *Result // nil if it is missing
}

// A State is how far a job is.
type State string

// The states of a job.
const (
	Missing State = "missing"
	There   State = "there" // before this run, or another process finished it meanwhile
	New     State = "new"
)

// Count returns the number of jobs in a state.
func (o *Outcome) Count(s State) (n int) {
	for _, j := range o.Jobs {
		if j.State == s {
			n++
		}
	}
	return n
}

// String returns the outcome for a terminal.
func (o *Outcome) String() string {
	var b strings.Builder
	for _, note := range o.Notes {
		fmt.Fprintln(&b, "note:", note)
	}
	fmt.Fprintf(&b, "%s: %s\n\n", defect.Printable(o.Plan), o.share())
	t := table.New("model", "recipe", "text", "work", "MB", "mean KL", "top-1", "result")
	for _, j := range o.Jobs {
		cells := []string{j.Model, j.Recipe, j.Text, fmt.Sprintf("%.1f%%", 100*j.Work), "-", "-", "-", fmt.Sprintf("%.8s %s", j.Result, j.State)}
		if r := j.found; r != nil {
			size := r.File.Bytes
			if r.File.ExportBytes > 0 {
				size = r.File.ExportBytes
			}
			cells[4], cells[5], cells[6] = fmt.Sprintf("%.3f", float64(size)/1e6), r.Measured.KLMean.Short(), fmt.Sprintf("%.1f%%", 100*float64(r.Measured.Top1))
		}
		t.Add(cells...)
	}
	t.Text(&b)
	folder := defect.Printable(o.Folder)
	if o.DryRun {
		fmt.Fprintf(&b, "\n%d to do, %d are in %s\n", o.Count(Missing), o.Count(There), folder)
	} else {
		fmt.Fprintf(&b, "\n%d new results in %s, %d were there; thimble curve %[2]s draws all\n", o.Count(New), folder, o.Count(There))
	}
	return b.String()
}

// share says which jobs these are.
func (o *Outcome) share() string {
	if o.Shard.Of == 1 {
		return fmt.Sprintf("%d jobs", o.All)
	}
	text := fmt.Sprintf("%d of %d jobs, shard %v", len(o.Jobs), o.All, o.Shard)
	if o.Shard.From != "" {
		text += " by " + o.Shard.From
	}
	return text
}
