package names

import (
	"maps"
	"slices"

	"thimble/internal/model"
)

// Blocks returns names whose blocks are called by prefix, such as "transformer.h.*.".
// Each tensor of kinds, by canonical kind, has a weight and a bias. So has each of outside.
func Blocks(prefix string, kinds, outside map[string]string) Table {
	n := Table{Stored: map[string]string{}, parts: map[string]Part{}}
	both := func(canonical, stored string) {
		n.Stored[canonical], n.Stored[canonical+model.BiasSuffix] = stored+".weight", stored+".bias"
	}
	for kind, stored := range kinds {
		both("blocks.*."+kind, prefix+stored)
	}
	for name, stored := range outside {
		both(name, stored)
	}
	return n
}

// With returns n with the names of more added or replaced, or left out if they are "".
func (n Table) With(more map[string]string) Table {
	n.Stored = maps.Clone(n.Stored)
	maps.Copy(n.Stored, more)
	maps.DeleteFunc(n.Stored, func(_, name string) bool { return name == "" })
	return n
}

// Ignoring returns n with patterns of tensors that follow from the config.
func (n Table) Ignoring(patterns ...string) Table {
	n.Ignored = slices.Concat(n.Ignored, patterns)
	return n
}

// LeavingOut returns n for checkpoints in which the names that begin with prefix are of tensors
// that transformers does not load either (_keys_to_ignore_on_load_unexpected).
func (n Table) LeavingOut(prefix string) Table {
	n.apart = prefix
	return n
}

// LaterPositions returns n for tables of positions whose first rows stand for padding.
func (n Table) LaterPositions(before int) Table {
	return n.WithParts(map[string]Part{model.Positions: {Before: before}})
}

// Experts returns n for a checkpoint that stores the experts of blocks under prefix,
// with the router at router and one matrix of each kind for each expert, or one tensor of
// all experts.
func (n Table) Experts(prefix, router, gate, up, down string) Table {
	one := prefix + "experts.*."
	n.stacks = []stack{
		{stored: prefix + "experts.gate_up_proj", parts: []string{one + gate + ".weight", one + up + ".weight"}},
		{stored: prefix + "experts.down_proj", parts: []string{one + down + ".weight"}},
	}
	return n.With(map[string]string{
		"blocks.*.router":         router,
		"blocks.*.experts.*.gate": one + gate + ".weight",
		"blocks.*.experts.*.up":   one + up + ".weight",
		"blocks.*.experts.*.down": one + down + ".weight",
	})
}

// Stacked returns n for a checkpoint with one tensor of gate and up, (experts, 2*width,
// hidden), and one of down, (experts, hidden, width).
func (n Table) Stacked(gateUp, down string) Table {
	return n.With(map[string]string{
		"blocks.*.experts.*.gate": gateUp, "blocks.*.experts.*.up": gateUp, "blocks.*.experts.*.down": down,
	}).WithParts(map[string]Part{
		"blocks.*.experts.*.gate": {Row: func(s *model.Spec, e, r int) int { return 2*e*s.Experts.FFN + r }},
		"blocks.*.experts.*.up":   {Row: func(s *model.Spec, e, r int) int { return (2*e+1)*s.Experts.FFN + r }},
		"blocks.*.experts.*.down": {Row: func(s *model.Spec, e, r int) int { return e*s.Hidden + r }},
	})
}

// InterleavedExperts is Experts for a checkpoint that stores the experts of a block in four tensors:
// gate_up_proj, (experts, columns, rows), in which each row of gate precedes that of up, down_proj
// likewise, and the biases of both, (experts, rows). The matrices may be (experts, rows, columns)
// instead, if their names end in _rows, as packed.MXFP4 names them.
func (n Table) InterleavedExperts(prefix, router string) Table {
	n = n.Experts(prefix, router, "gate_proj", "up_proj", "down_proj")
	more := map[string]string{}
	for kind, own := range map[string]string{model.Gate: "gate_proj", model.Up: "up_proj", model.Down: "down_proj"} {
		more["blocks.*.experts.*."+kind+model.BiasSuffix] = prefix + "experts.*." + own + ".bias"
	}
	n.stacks = nil
	for _, parts := range [][]string{{"gate_up_proj", "gate_proj", "up_proj"}, {"down_proj", "down_proj"}} {
		all := func(suffix string) (patterns []string) {
			for _, p := range parts[1:] {
				patterns = append(patterns, prefix+"experts.*."+p+suffix)
			}
			return patterns
		}
		stored := prefix + "experts." + parts[0]
		n.stacks = append(n.stacks,
			stack{stored: stored, parts: all(".weight"), mixed: true, turned: true},
			stack{stored: stored + "_rows", parts: all(".weight"), mixed: true},
			stack{stored: stored + "_bias", parts: all(".bias"), mixed: true, values: true})
	}
	return n.With(more)
}
