package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble/format/thimble"
	"thimble/internal/defect"
	"thimble/internal/model"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what a container, a checkpoint or a GGUF file holds, and check it for damage",
		UsageText: "thimble inspect MODEL [--tensors] [--check] [--json]",
		Description: "Opening a container verifies its header and that every byte of the file is accounted\n" +
			"for. --check also reads every tensor and compares its SHA-256: one flipped bit is found\n" +
			"and the tensor named.\n\n" +
			"Examples:\n" +
			"   thimble inspect smol.thimble --check\n" +
			"   thimble inspect SmolLM2-135M --tensors\n" +
			"   thimble inspect smol-Q4_K_M.gguf\n" +
			"   thimble inspect smol.thimble --json | jq .provenance.sources",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "tensors", Usage: "list every tensor"},
			&cli.BoolFlag{Name: "check", Usage: "read the whole file and verify every digest (containers)"},
			setFlag, jsonFlag, quietFlag,
		},
		Action: inspectAction,
	}
}

// An inspection is the report of inspect.
type inspection struct {
	Path       string         `json:"path"`
	Format     string         `json:"format"` // "thimble", "GGUF" or "checkpoint"
	Container  *container     `json:"container,omitempty"`
	Spec       model.Spec     `json:"spec"`
	Weights    int64          `json:"weights"`
	Bytes      int64          `json:"tensor_bytes"`
	Tokenizer  string         `json:"tokenizer"` // what it is, or why there is none
	Notes      []string       `json:"notes,omitempty"`
	Tensors    []storedTensor `json:"tensors"`
	Provenance provenance     `json:"provenance"`
	listed     bool
}

// A container is what only a .thimble file has.
type container struct {
	Version        int            `json:"version"`
	Bytes          int64          `json:"bytes"`
	HeaderBytes    int64          `json:"header_bytes"`
	HeaderSHA256   thimble.Digest `json:"header_sha256"`
	TokenizerBytes int64          `json:"tokenizer_bytes"`
	DataOffset     int64          `json:"data_offset"`
	Gates          []thimble.Gate `json:"gates,omitempty"`
	Checked        bool           `json:"checked"` // every digest was verified
}

type storedTensor struct {
	Name   string          `json:"name"`
	Role   string          `json:"role"`
	Scheme string          `json:"scheme"`
	Rows   int             `json:"rows"`
	Cols   int             `json:"cols"`
	Bytes  int64           `json:"bytes"`
	SHA256 *thimble.Digest `json:"sha256,omitempty"` // containers have it
}

// provenance is model.Provenance with digests as people write them.
type provenance struct {
	Architecture string   `json:"architecture"`
	Overrides    []string `json:"overrides,omitempty"`
	Recipe       string   `json:"recipe,omitempty"`
	Tool         string   `json:"tool,omitempty"`
	Sources      []source `json:"sources,omitempty"`
}

type source struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func inspectAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	m, err := openModel(path, c.StringSlice(setFlag.Name))
	if err != nil {
		return err
	}
	defer m.Close()
	r := &inspection{Path: path, Format: formatOf(path), Spec: m.Spec, Notes: m.Notes, listed: c.Bool("tensors")}
	r.Weights, r.Bytes = m.Size()
	for _, s := range m.Spec.Slots() {
		t := m.Tensors[s.Name]
		r.Tensors = append(r.Tensors, storedTensor{s.Name, s.Role.String(), t.Scheme.String(), t.Rows, t.Cols, t.Bytes(), nil})
	}
	p := m.Provenance
	r.Provenance = provenance{p.Architecture, p.Overrides, p.Recipe, p.Tool, nil}
	for _, s := range p.Sources {
		r.Provenance.Sources = append(r.Provenance.Sources, source{s.Name, s.Bytes, hex.EncodeToString(s.SHA256)})
	}
	r.Tokenizer = tokenizerText(m)
	if isContainer(path) {
		if err := r.inspect(path); err != nil {
			return err
		}
	}
	if c.Bool("check") {
		if r.Container == nil {
			return fmt.Errorf("%s: %s files carry no digests to check; containers do", defect.Printable(path), r.Format)
		}
		progress := newMeter(c, "check", "MB", 1e6)
		err := thimble.Check(c.Context, path, progress.at)
		progress.done()
		if err != nil {
			return err
		}
		r.Container.Checked = true
	}
	return print(c, r)
}

// inspect adds what the container at path says of itself.
func (r *inspection) inspect(path string) error {
	info, err := thimble.Inspect(path)
	if err != nil {
		return err
	}
	r.Container = &container{info.Version, info.Bytes, info.HeaderBytes, info.Header, info.TokenizerBytes, info.DataOffset, info.Gates, false}
	for i := range info.Tensors {
		r.Tensors[i].SHA256 = &info.Tensors[i].SHA256
	}
	return nil
}

func tokenizerText(m *model.Model) string {
	data, err := m.Tokenizer()
	switch {
	case err != nil:
		return oneLine(err)
	case data == nil:
		return "none"
	case data.ChatTemplate != "":
		return fmt.Sprintf("%d tokens, with a chat template", len(data.Tokens))
	}
	return fmt.Sprintf("%d tokens", len(data.Tokens))
}

func (r *inspection) String() string {
	var b strings.Builder
	s := &r.Spec
	fmt.Fprintf(&b, "%s: %s", defect.Printable(r.Path), r.Format)
	if r.Container != nil {
		fmt.Fprintf(&b, " version %d, %s", r.Container.Version, bytesText(r.Container.Bytes))
	}
	if r.Container != nil && r.Container.Checked {
		b.WriteString(", every digest verified")
	}
	fmt.Fprintf(&b, "\n%s, %.2fM weights in %s, %.2f bits per weight\n\n", defect.Printable(r.Provenance.Architecture),
		float64(r.Weights)/1e6, bytesText(r.Bytes), 8*float64(r.Bytes)/float64(r.Weights))
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
	r.writeProvenance(&b, row)
	b.WriteString("\n")
	r.writeTensors(&b)
	return b.String()
}

func (r *inspection) writeProvenance(b *strings.Builder, row func(string, string, ...any)) {
	p := &r.Provenance
	if p.Tool != "" {
		row("made by", "%s", defect.Printable(p.Tool))
	}
	for _, o := range p.Overrides {
		row("override", "%s", defect.Printable(o))
	}
	for _, s := range p.Sources {
		row("from", "%s  %s  %s", s.SHA256[:16], bytesText(s.Bytes), defect.Printable(s.Name))
	}
	if r.Container != nil {
		for _, g := range r.Container.Gates {
			limit := fmt.Sprintf("%s %g", g.Direction(), g.Limit)
			if g.Direction() == "" { // an old file that does not record it
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

// writeTensors lists the tensors, or sums them up by role and scheme.
func (r *inspection) writeTensors(b *strings.Builder) {
	if r.listed {
		for _, t := range r.Tensors {
			fmt.Fprintf(b, "  %-22s %-10s %-14s %14s %12d B\n", t.Name, t.Role, t.Scheme, fmt.Sprintf("%d x %d", t.Rows, t.Cols), t.Bytes)
		}
		return
	}
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
