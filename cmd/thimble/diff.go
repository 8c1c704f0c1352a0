package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/verify/metric"
)

func diffCommand() *cli.Command {
	return &cli.Command{
		Name:      "diff",
		Usage:     "compare two models tensor by tensor, whatever their formats",
		UsageText: "thimble diff A B [--values] [--all] [--json]",
		Description: "Says what differs in what the models compute and in their tokenizers, and for each\n" +
			"tensor how it is stored, bits per weight, NMSE (the squared difference of all values\n" +
			"over the squares of A's), and how many groups of 32 columns hold another value. The\n" +
			"most different tensors come first.\n\n" +
			"Exit status: 0 the same, 1 they differ, 2 could not compare. Where a model came from is\n" +
			"shown and does not count, nor does the format of the file: Q4_0 is int4/g32.\n\n" +
			"Examples:\n" +
			"   thimble diff SmolLM2-135M smol.thimble\n" +
			"   thimble diff smol.thimble smol.gguf --values\n" +
			"   thimble diff old.thimble new.thimble --json | jq .nmse",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "values", Usage: "the same values stored in another way are the same"},
			&cli.BoolFlag{Name: "all", Usage: "list every tensor, also those that are the same"},
			setFlag, jsonFlag, quietFlag,
		},
		Action: diffAction,
	}
}

// A difference is the report of diff.
type difference struct {
	Same       bool         `json:"same"` // but for Provenance
	A          side         `json:"a"`
	B          side         `json:"b"`
	Metadata   []fieldDiff  `json:"metadata"`   // of spec and tokenizer
	Provenance []fieldDiff  `json:"provenance"` // does not count
	NMSE       metric.Value `json:"nmse"`       // over the tensors that both have; null if A is 0 there
	Tensors    []tensorDiff `json:"tensors"`    // the most different first
	all        bool
}

// A side is one of the two models.
type side struct {
	Path          string  `json:"path"`
	Format        string  `json:"format"`
	Weights       int64   `json:"weights"`
	Bytes         int64   `json:"tensor_bytes"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

// A fieldDiff is a field that the two have different values of, as JSON unless
// it is a string; empty where a model has no such field.
type fieldDiff struct {
	Field string `json:"field"`
	A     string `json:"a"`
	B     string `json:"b"`
}

// A tensorDiff compares the tensors of one name.
type tensorDiff struct {
	Name    string       `json:"name"`
	A       *stored      `json:"a"`            // null where there is none
	B       *stored      `json:"b"`            // likewise
	NMSE    metric.Value `json:"nmse"`         // null where shapes differ or all of A is 0
	MaxAbs  metric.Value `json:"max_abs"`      // the largest difference of two values
	Groups  int64        `json:"groups"`       // of up to 32 columns of a row
	Changed int64        `json:"changed"`      // groups with a value that differs
	Stored  bool         `json:"stored_alike"` // in one scheme
	sum     [2]float64   // squared differences, squares of A
}

type stored struct {
	Scheme        string  `json:"scheme"`
	Rows          int     `json:"rows"`
	Cols          int     `json:"cols"`
	BitsPerWeight float64 `json:"bits_per_weight"`
}

func diffAction(c *cli.Context) error {
	if c.NArg() != 2 {
		return fmt.Errorf("diff takes two models, got %d arguments; see thimble diff --help", c.NArg())
	}
	var models [2]*model.Model
	for i, path := range c.Args().Slice() {
		if path == "" {
			return fmt.Errorf("diff: a model's path is empty")
		}
		m, err := openSound(path, overridesOf(c, path, c.Args().Get(1-i)))
		if err != nil {
			return err
		}
		defer m.Close()
		models[i] = m
	}
	r, err := compareModels(c, models[0], models[1])
	if err != nil {
		return err
	}
	r.all = c.Bool("all")
	if err := print(c, r); err != nil {
		return err
	}
	if !r.Same {
		return errRefused
	}
	return nil
}

func compareModels(c *cli.Context, a, b *model.Model) (*difference, error) {
	r := &difference{A: sideOf(a), B: sideOf(b), Metadata: []fieldDiff{}, Provenance: []fieldDiff{}}
	var meta, from [2]map[string]string
	for i, m := range []*model.Model{a, b} {
		var err error
		if meta[i], err = fields(m.Spec); err != nil {
			return nil, err
		}
		if err := addTokenizer(meta[i], m); err != nil {
			return nil, err
		}
		p := m.Provenance
		if from[i], err = fields(provenance{p.Architecture, p.Overrides, p.Recipe, p.Tool, nil}); err != nil {
			return nil, err
		}
		for _, s := range p.Sources {
			from[i]["source "+s.Name] = fmt.Sprintf("%d bytes, %x", s.Bytes, s.SHA256[:min(8, len(s.SHA256))])
		}
	}
	r.Metadata = append(r.Metadata, differing(meta[0], meta[1])...)
	r.Provenance = append(r.Provenance, differing(from[0], from[1])...)
	if err := r.compareTensors(c, a, b); err != nil {
		return nil, err
	}
	r.Same = len(r.Metadata) == 0 && !slices.ContainsFunc(r.Tensors, func(d tensorDiff) bool {
		return d.differs() && !(c.Bool("values") && d.Changed == 0 && !d.incomparable())
	})
	return r, nil
}

func sideOf(m *model.Model) side {
	weights, bytes := m.Size()
	return side{m.Path, formatOf(m.Path), weights, bytes, 8 * float64(bytes) / float64(weights)}
}

// fields returns each field of v: a string as it is, anything else as JSON.
func fields(v any) (map[string]string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	raw := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	all := make(map[string]string, len(raw))
	for name, value := range raw {
		var plain string
		if json.Unmarshal(value, &plain) != nil {
			plain = string(value)
		}
		all[name] = plain
	}
	return all, nil
}

// addTokenizer adds the digest of m's tokenizer, and of its chat template, which
// may change alone.
func addTokenizer(to map[string]string, m *model.Model) error {
	data, err := m.Tokenizer()
	if err != nil { // as where inspect says so
		to["tokenizer"] = oneLine(err)
		return nil
	}
	if data == nil {
		return nil
	}
	plain := *data
	plain.ChatTemplate = ""
	text, err := json.Marshal(plain)
	if err != nil {
		return err
	}
	digest := func(b []byte) string {
		sum := sha256.Sum256(b)
		return hex.EncodeToString(sum[:8])
	}
	to["tokenizer"] = fmt.Sprintf("%d tokens, %s", len(data.Tokens), digest(text))
	if data.ChatTemplate != "" {
		to["chat_template"] = digest([]byte(data.ChatTemplate))
	}
	return nil
}

// differing lists the fields of a and b that differ, in order of their names.
func differing(a, b map[string]string) (found []fieldDiff) {
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if a[name] != b[name] {
			found = append(found, fieldDiff{name, a[name], b[name]})
		}
	}
	return found
}

// compareTensors compares the tensors of both by name, in the order of their use.
func (r *difference) compareTensors(c *cli.Context, a, b *model.Model) error {
	var names []string
	seen := map[string]bool{}
	for _, s := range slices.Concat(a.Spec.Slots(), b.Spec.Slots()) {
		if !seen[s.Name] {
			names, seen[s.Name] = append(names, s.Name), true
		}
	}
	progress := newMeter(c, "diff", "million weights", 1e6)
	defer progress.done()
	var done int64
	var sum [2]float64
	for _, name := range names {
		d, err := compareTensor(c.Context, name, a.Tensors[name], b.Tensors[name])
		if err != nil {
			return err
		}
		if d.A != nil {
			done += int64(d.A.Rows) * int64(d.A.Cols)
		}
		progress.at(done, r.A.Weights)
		sum[0] += d.sum[0]
		sum[1] += d.sum[1]
		r.Tensors = append(r.Tensors, d)
	}
	r.NMSE = nmse(sum)
	slices.SortStableFunc(r.Tensors, func(x, y tensorDiff) int { return cmp.Compare(y.weight(), x.weight()) })
	return nil
}

// differs says whether the two tensors are not the same, in value or scheme.
func (d tensorDiff) differs() bool { return d.incomparable() || d.Changed > 0 || !d.Stored }

// incomparable tensors have no values in common.
func (d *tensorDiff) incomparable() bool {
	return d.A == nil || d.B == nil || d.A.Rows != d.B.Rows || d.A.Cols != d.B.Cols
}

// weight orders tensors: those that cannot be compared, then by NMSE, then those
// that are only stored in another way.
func (d *tensorDiff) weight() float64 {
	switch {
	case d.incomparable() || !d.NMSE.Known():
		return math.Inf(1)
	case d.Changed == 0 && d.Stored:
		return -2
	case d.Changed == 0:
		return -1
	}
	return float64(d.NMSE)
}

// nmse is sum[0]/sum[1], no difference from nothing being none.
func nmse(sum [2]float64) metric.Value {
	if sum[0] == 0 {
		return 0
	}
	if sum[1] == 0 {
		return metric.Value(math.NaN())
	}
	return metric.Value(sum[0] / sum[1])
}

// compareTensor compares a and b, either of which may be nil.
func compareTensor(ctx context.Context, name string, a, b *qtensor.Matrix) (tensorDiff, error) {
	d := tensorDiff{Name: name, A: storedOf(a), B: storedOf(b), NMSE: metric.Value(math.NaN()), MaxAbs: metric.Value(math.NaN())}
	if d.incomparable() {
		return d, nil
	}
	d.Stored = ownScheme(a) == ownScheme(b)
	rows := make([]rowDiff, a.Rows)
	lanes := make([]diffLane, parallel.Workers())
	err := parallel.Do(ctx, a.Rows, func(worker, row int) error {
		var err error
		rows[row], err = lanes[worker].row(a, b, row)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return d, err
	}
	d.MaxAbs, d.Groups = 0, int64(a.Rows)*int64((a.Cols+groupCols-1)/groupCols)
	for _, x := range rows {
		d.sum[0] += x.squares
		d.sum[1] += x.whole
		d.Changed += x.changed
		d.MaxAbs = max(d.MaxAbs, metric.Value(x.maxAbs))
	}
	d.NMSE = nmse(d.sum)
	return d, nil
}

func storedOf(m *qtensor.Matrix) *stored {
	if m == nil {
		return nil
	}
	return &stored{m.Scheme.String(), m.Rows, m.Cols, 8 * float64(m.Bytes()) / float64(int64(m.Rows)*int64(m.Cols))}
}

// ownScheme is m's scheme, as one of ours where it is the same as one.
func ownScheme(m *qtensor.Matrix) qtensor.Scheme {
	if own, ok := m.Scheme.Own(); ok {
		return own
	}
	return m.Scheme
}

// groupCols is how many columns of a row are counted as one group.
const groupCols = 32

// A rowDiff is what two rows differ by.
type rowDiff struct {
	squares, whole, maxAbs float64 // of differences, of a's values
	changed                int64   // groups
}

// A diffLane is one worker's scratch.
type diffLane struct {
	readA, readB qtensor.Reader
	a, b         []float32
}

func (l *diffLane) row(a, b *qtensor.Matrix, r int) (d rowDiff, err error) {
	if len(l.a) != a.Cols {
		l.a, l.b = make([]float32, a.Cols), make([]float32, a.Cols)
	}
	l.readA.Row(l.a, a, r)
	l.readB.Row(l.b, b, r)
	counted := -1 // the last group that was found to have changed
	for i, x := range l.a {
		p, q := float64(x), float64(l.b[i])
		if p-p != 0 || q-q != 0 {
			return d, fmt.Errorf("row %d, column %d: %v and %v cannot be compared", r, i, x, l.b[i])
		}
		d.whole += float64(p * p)
		if p == q {
			continue
		}
		d.squares += float64((p - q) * (p - q))
		d.maxAbs = max(d.maxAbs, math.Abs(p-q))
		if g := i / groupCols; g != counted {
			d.changed, counted = d.changed+1, g
		}
	}
	return d, nil
}
