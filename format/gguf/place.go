package gguf

import (
	"slices"
	"strings"

	"thimble/internal/model"
)

// A place says where a file has a tensor of the model: in some rows of a tensor that may
// also hold others, such as the matrices of all experts of a block.
type place struct {
	name        string   // of the file's tensor
	first, rows int      // the rows, or the values of a vector, from first on, of all rows
	dims        []uint64 // of the file's tensor, innermost first
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
		p := place{blockPrefix(block) + "ffn_" + of + "_exps.weight", expert * slot.Rows, n * slot.Rows, nil}
		p.dims = []uint64{uint64(slot.Cols), uint64(slot.Rows), uint64(n)}
		return p, a.experts != nil
	}
	if name, before, all := a.joined(s, kind); name != "" {
		p := place{blockPrefix(block) + name + ending, before, all, []uint64{uint64(slot.Cols), uint64(all)}}
		if bias {
			p.dims = p.dims[1:]
		}
		return p, true
	}
	name, ok := a.ownName(s, base)
	if name += ending; !ok {
		name, ok = nameInGGUF(slot.Name)
	}
	p := place{name, 0, slot.Rows, []uint64{uint64(slot.Cols), uint64(slot.Rows)}}
	if slot.Rows == 1 && slot.Role == model.Vector {
		p.rows, p.dims = slot.Cols, vectorDims(s, block, kind, slot.Cols)
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
		return blockPrefix(block) + own[kind], true
	}
	return own[base], own[base] != ""
}

// vectorDims returns the dimensions of a vector of n values: the factors of a convolution
// and the gains of the norms of single heads are matrices in files.
func vectorDims(s *model.Spec, block int, kind string, n int) []uint64 {
	rows := 1
	switch {
	case kind == model.Conv:
		rows = s.Hidden
	case s.QKNorm == model.QKHead && (kind == model.QNorm || kind == model.KNorm):
		rows = n / s.HeadDim
	}
	if rows == 1 {
		return []uint64{uint64(n)}
	}
	return []uint64{uint64(n / rows), uint64(rows)}
}

// joined returns the name of the tensor that holds the layers of a kind and others one after
// the other, the number of rows before them, and that of all rows; or "".
func (a *architecture) joined(s *model.Spec, kind string) (name string, before, all int) {
	q, kv := s.Heads*s.HeadDim, s.KVHeads*s.HeadDim
	at := func(kinds []string, rows ...int) (before, all int) {
		for i, k := range kinds {
			if all += rows[i]; k == kind {
				before = all - rows[i]
			}
		}
		return before, all
	}
	qkv, gateUp := []string{model.Q, model.K, model.V}, []string{model.Gate, model.Up}
	switch {
	case a.joinsQKV && slices.Contains(qkv, kind):
		before, all = at(qkv, q, kv, kv)
		return "attn_qkv", before, all
	case a.joinsGate && slices.Contains(gateUp, kind):
		before, all = at(gateUp, s.FFN, s.FFN)
		return "ffn_up", before, all
	}
	return "", 0, 0
}
