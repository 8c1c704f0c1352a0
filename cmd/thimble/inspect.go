package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/units"
)

const inspectHelp = `Opening a container verifies its header and accounts for every byte of the file.
--check also reads every tensor and compares its SHA-256: it finds a single
flipped bit and names the tensor.

Examples:
   thimble inspect smol.thimble --check
   thimble inspect SmolLM2-135M --tensors
   thimble inspect smol-Q4_K_M.gguf
   thimble inspect smol.thimble --json | jq .provenance.sources`

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:        "inspect",
		Usage:       "describe a container, a checkpoint or a GGUF file, and check a container for damage",
		UsageText:   "thimble inspect MODEL [--tensors] [--check] [--json]",
		Description: inspectHelp,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&cli.BoolFlag{Name: "check", Usage: "read the whole file and verify every digest (containers only)"},
			setFlag, jsonFlag, quietFlag,
		},
		Action: inspectAction,
	}
}

func inspectAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	progress := newMeter(c)
	defer progress.done()
	r, err := thimble.Inspect(c.Context, thimble.InspectOptions{
		Model: path, Set: c.StringSlice(setFlag.Name), Check: c.Bool("check"), Progress: progress.step,
	})
	if err != nil {
		return err
	}
	progress.done()
	return printText(c, r, func() string { return inspectText(r, c.Bool("tensors")) })
}

// inspectText formats r for a terminal. If listed is set, it lists every tensor.
func inspectText(r *thimble.Inspection, listed bool) string {
	var b strings.Builder
	s := &r.Spec
	fmt.Fprintf(&b, "%s: %s", defect.Printable(r.Path), r.Format)
	if r.Container != nil {
		fmt.Fprintf(&b, " version %d, %s", r.Container.Version, units.Size(r.Container.Bytes))
	}
	if r.Container != nil && r.Container.Checked {
		b.WriteString(", every digest verified")
	}
	fmt.Fprintf(&b, "\n%s, %.2fM weights in %s, %.2f bits per weight\n\n", defect.Printable(r.Provenance.Architecture),
		float64(r.Weights)/1e6, units.Size(r.Bytes), 8*float64(r.Bytes)/float64(r.Weights))
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	row("layers", "%d blocks%s, width %d, feed-forward %d", s.Blocks, sharing(s), s.Hidden, s.FFN)
	row("attention", "%d heads of %d, %d key-value heads, context %d", s.Heads, s.HeadDim, s.KVHeads, s.Context)
	if notes := s.Notes(); notes != nil {
		row("features", "%s", strings.Join(notes, ", "))
	}
	row("rope", "%s", ropeText(s.Rope))
	row("vocabulary", "%d%s, bos %d, eos %v", s.Vocab, tied(s), s.BOS, s.EOS)
	row("tokenizer", "%s", r.Tokenizer)
	for _, n := range r.Notes {
		row("note", "%s", defect.Printable(n))
	}
	if r.Container != nil {
		row("header", "sha256 %v", r.Container.HeaderSHA256)
	}
	writeProvenance(r, row)
	b.WriteString("\n")
	if listed {
		listTensors(&b, r)
	} else {
		sumTensors(&b, r)
	}
	return b.String()
}

// writeProvenance writes a row for each fact about the model's origin.
func writeProvenance(r *thimble.Inspection, row func(string, string, ...any)) {
	p := &r.Provenance
	if p.Tool != "" {
		row("made by", "%s", defect.Printable(p.Tool))
	}
	for _, o := range p.Overrides {
		row("override", "%s", defect.Printable(o))
	}
	for _, s := range p.Sources {
		row("from", "%s  %s  %s", s.SHA256[:16], units.Size(s.Bytes), defect.Printable(s.Name))
	}
	if r.Container != nil {
		for _, g := range r.Container.Gates {
			limit := fmt.Sprintf("%s %g", g.Direction(), g.Limit)
			if g.Direction() == "" { // an old file that does not record the operator
				limit = fmt.Sprintf("at its limit of %g", g.Limit)
			}
			row("passed", "%s %.4g %s, against %x", defect.Printable(g.Metric), g.Value, limit, g.Against[:8])
		}
	}
	for i, line := range strings.Split(strings.TrimSpace(p.Recipe), "\n") {
		if line != "" {
			row([...]string{"recipe", ""}[min(i, 1)], "%s", defect.Printable(line))
		}
	}
}

// listTensors writes a line for each tensor.
func listTensors(b *strings.Builder, r *thimble.Inspection) {
	for _, t := range r.Tensors {
		fmt.Fprintf(b, "  %-22s %-10s %-14s %14s %12d B\n", t.Name, t.Role, t.Scheme, fmt.Sprintf("%d x %d", t.Rows, t.Cols), t.Bytes)
	}
}

// sumTensors writes a line for each combination of role and scheme.
func sumTensors(b *strings.Builder, r *thimble.Inspection) {
	type group struct {
		role, scheme string
		count        int
		bytes        int64
	}
	var groups []group
next:
	for _, t := range r.Tensors {
		for i := range groups {
			if g := &groups[i]; g.role == t.Role && g.scheme == t.Scheme {
				g.count++
				g.bytes += t.Bytes
				continue next
			}
		}
		groups = append(groups, group{t.Role, t.Scheme, 1, t.Bytes})
	}
	for _, g := range groups {
		fmt.Fprintf(b, "  %4d %-10s %-14s %10.3f MB %5.1f%%\n", g.count, g.role, g.scheme, float64(g.bytes)/1e6, 100*float64(g.bytes)/float64(r.Bytes))
	}
}

func sharing(s *model.Spec) string {
	if !s.Shared() {
		return ""
	}
	return fmt.Sprintf(" run as %d steps", len(s.Schedule))
}

func tied(s *model.Spec) string {
	if s.Tied {
		return ", embedding tied to the head and stored once"
	}
	return ""
}

func ropeText(r model.Rope) string {
	switch r.Scaling {
	case model.RopeLinear:
		return fmt.Sprintf("base %g, linear scaling by %g", r.Base, r.Factor)
	case model.RopeLlama3:
		return fmt.Sprintf("base %g, llama3 scaling by %g from %d positions", r.Base, r.Factor, r.Original)
	}
	return fmt.Sprintf("base %g", r.Base)
}
