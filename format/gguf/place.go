package gguf

import (
	"strings"

	"thimble/format/gguf/names"
	"thimble/format/gguf/order"
	"thimble/internal/model"
)

// A place says where a file has a tensor of the model: in some rows of a tensor that may
// also hold others, such as the matrices of all experts of a block.
type place struct {
	name        string     // of the file's tensor
	first, rows int        // the rows, or the values of a vector, from first on, of all rows
	dims        []uint64   // of the file's tensor, innermost first
	mixed       order.Swap // of all its rows, which those of the model's tensors take turns in
}

// place returns the place of slot in a file for s.
func (a *architecture) place(s *model.Spec, slot model.Slot) (place, bool) {
	base, bias := strings.CutSuffix(slot.Name, model.BiasSuffix)
	ending := ".weight"
	if bias {
		ending = ".bias"
	}
	block, kind, _ := model.SplitName(base)
	if expert, of, ok := model.SplitExpert(kind); ok && !bias {
		n := s.Experts.Count
		p := place{name: names.Block(block) + "ffn_" + of + "_exps.weight", first: expert * slot.Rows, rows: n * slot.Rows}
		p.dims = []uint64{uint64(slot.Cols), uint64(slot.Rows), uint64(n)}
		return p, a.experts != nil
	}
	if p := streamsOf(s, kind); p.name != "" {
		return p, true
	}
	if p := a.joined(s, block, kind); p.name != "" {
		p.name += ending
		if p.dims = []uint64{uint64(slot.Cols), uint64(p.rows)}; bias {
			p.dims = p.dims[1:]
		}
		return p, true
	}
	name, ok := a.ownName(s, base)
	if name += ending; !ok {
		name, ok = names.Of(slot.Name)
	}
	p := place{name: name, rows: slot.Rows, dims: []uint64{uint64(slot.Cols), uint64(slot.Rows)}}
	if slot.Rows == 1 && slot.Role == model.Vector {
		p.rows, p.dims = slot.Cols, []uint64{uint64(slot.Cols)}
		if !bias {
			p.dims = vectorDims(s, block, kind, slot.Cols)
		}
	}
	return p, ok
}

// ownName returns the architecture's name for a tensor, without its ending, if it is not the
// usual one.
func (a *architecture) ownName(s *model.Spec, base string) (string, bool) {
	if a.names == nil {
		return "", false
	}
	own := a.names(s)
	if block, kind, ok := model.SplitName(base); ok && own[kind] != "" {
		return names.Block(block) + own[kind], true
	}
	return own[base], own[base] != ""
}

// vectorDims returns the dimensions of a vector of n values: the factors of a convolution,
// the gains of the norms of single heads or groups, and the numbers of the heads of a state space
// are matrices in files.
func vectorDims(s *model.Spec, block int, kind string, n int) []uint64 {
	rows := 1
	switch {
	case kind == model.Conv:
		rows = s.Hidden
	case kind == model.DeltaConv:
		rows = s.Delta.Mixed()
	case kind == model.ScanConv:
		rows = s.Scan.Mixed()
	case kind == model.ScanDecay || kind == model.ScanSkip:
		rows = n
	case kind == model.ScanNorm:
		rows = s.Scan.Groups
	case s.QKNorm == model.QKHead && (kind == model.QNorm || kind == model.KNorm):
		rows = n / s.HeadDim
	}
	if rows == 1 {
		return []uint64{uint64(n)}
	}
	return []uint64{uint64(n / rows), uint64(rows)}
}

// joined returns the place of the layers of a kind in the tensor that holds them and others,
// without the ending of its name and its dimensions, or one without a name.
func (a *architecture) joined(s *model.Spec, block int, kind string) place {
	inBlock := func(name string, kinds []string, rows ...int) (p place) {
		for i, k := range kinds {
			if k == kind {
				p.name, p.first = names.Block(block)+name, p.rows
			}
			p.rows += rows[i]
		}
		return p
	}
	one := s.Of(block)
	q, kv, d := one.Heads*one.HeadDim, one.KVHeads*one.HeadDim, &one.Delta
	switch kind {
	case model.Q, model.AttnGate, model.K, model.V:
		if s.AttnGate {
			if p := inBlock("attn_q", []string{model.Q, model.AttnGate}, q, q); p.name != "" {
				p.mixed = order.Swap{Outer: 2, Inner: one.Heads, Unit: one.HeadDim}
				return p
			}
		}
		if a.joinsQKV {
			return inBlock("attn_qkv", []string{model.Q, model.K, model.V}, q, kv, kv)
		}
	case model.Gate, model.Up:
		if a.joinsGate {
			return inBlock("ffn_up", []string{model.Gate, model.Up}, one.FFN, one.FFN)
		}
	case model.DeltaA, model.DeltaB:
		if a.delta != nil && a.delta.joined {
			p := inBlock("ssm_ba", []string{model.DeltaB, model.DeltaA}, d.ValueHeads, d.ValueHeads)
			p.mixed = order.Swap{Outer: 2, Inner: d.KeyHeads, Unit: d.ValueHeads / max(d.KeyHeads, 1)}
			return p
		}
	case model.ScanGate, model.ScanIn, model.ScanStep:
		return inBlock("ssm_in", []string{model.ScanGate, model.ScanIn, model.ScanStep}, s.Scan.Values(), s.Scan.Mixed(), s.Scan.Heads)
	case model.LayerIn:
		return place{name: "per_layer_model_proj", first: block * s.Layer.Width, rows: s.Blocks * s.Layer.Width}
	}
	return place{}
}

// order returns the order in which a file has slot, whose place is where. A model that rotates
// dimension i of a head with i+HeadDim/2 needs another order of rows for a graph that rotates 2i
// with 2i+1: row 2i+j of a head in the file is row i+j*HeadDim/2 of the model (llama.py, permute).
func (a *architecture) order(slot model.Slot, where place, s *model.Spec) order.Order {
	o := order.Order{Mixed: where.mixed, First: where.first}
	_, kind, _ := model.SplitName(strings.TrimSuffix(slot.Name, model.BiasSuffix))
	switch {
	case a.pairs && !s.Rope.Pairs && (kind == model.Q || kind == model.K):
		o.Rows = order.Swap{Outer: 2, Inner: s.HeadDim / 2, Unit: 1}
	case a.delta != nil && a.delta.tiled && s.Delta.KeyHeads > 0:
		o.Rows, o.Cols = tiledHeads(kind, slot, &s.Delta)
	}
	return o
}
