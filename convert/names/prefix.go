package names

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
)

// wrappers are the parts that PyTorch's wrappers put between the parts of a name, wherever
// they wrap: torch.compile, FSDP, activation checkpointing.
var wrappers = []string{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

// PlainNames returns the tensors by the names that the model's class gives them, without
// what programs put around them: wrappers, and one prefix that all names share, such as
// "module." or "base_model.model.". The base model alone, saved without its head, lacks the
// class's own "model." or "transformer."; the prefix is then added. It also returns notes on what it did.
func (n *Table) PlainNames(tensors map[string]*checkpoint.Tensor) (map[string]*checkpoint.Tensor, []string) {
	var notes []string
	rename := func(note string, least int, name func(string) string) {
		out := make(map[string]*checkpoint.Tensor, len(tensors))
		changed := 0
		for _, old := range slices.Sorted(maps.Keys(tensors)) {
			plain := name(old)
			if out[plain] != nil {
				return // the names are not what they seem; binding them says what is wrong
			}
			t := tensors[old]
			if plain != old {
				changed++
			}
			out[plain] = t
		}
		if changed >= max(least, 1) {
			tensors = out
			notes = append(notes, fmt.Sprintf("%s in the names of %s", note, defect.Counted(changed, "tensor")))
		}
	}
	rename("wrappers of PyTorch taken off", 1, unwrapped)

	common := len(tensors) / 2 // a prefix that fewer names have is a part of a name
	anchor := n.Of(model.Norm)
	if tensors[anchor] != nil {
		return tensors, notes
	}
	if prefix, ok := prefixBefore(tensors, anchor); ok {
		rename(fmt.Sprintf("prefix %s taken off", defect.Printable(prefix)), common, func(name string) string { return strings.TrimPrefix(name, prefix) })
		return tensors, notes
	}
	own, base, _ := strings.Cut(anchor, ".")
	if prefix, ok := prefixBefore(tensors, base); ok && slices.Contains(basePrefixes, own) {
		what := fmt.Sprintf("prefix %s. missing", own)
		if prefix != "" {
			what = fmt.Sprintf("prefix %s taken for %s.", defect.Printable(prefix), own)
		}
		rename(what, common, func(name string) string {
			rest := strings.TrimPrefix(name, prefix)
			if with := own + "." + rest; n.has(with) {
				return with
			}
			return rest
		})
	}
	return tensors, notes
}

// basePrefixes are the attributes of the classes with a head that hold the base model.
var basePrefixes = []string{"model", "transformer", "gpt_neox", "biogpt"}

// unwrapped returns name without the parts that wrappers add.
func unwrapped(name string) string {
	parts := strings.Split(name, ".")
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return slices.Contains(wrappers, part) }), ".")
}

// prefixBefore returns what is before anchor, a whole number of parts, in the name that ends in
// it. Names inside blocks may end in it, too, but have more parts.
func prefixBefore(tensors map[string]*checkpoint.Tensor, anchor string) (prefix string, ok bool) {
	fewest := -1
	for name := range tensors {
		before, ends := strings.CutSuffix(name, anchor)
		if !ends || before != "" && !strings.HasSuffix(before, ".") {
			continue
		}
		switch n := strings.Count(before, "."); {
		case fewest < 0 || n < fewest:
			prefix, fewest, ok = before, n, true
		case n == fewest:
			ok = false
		}
	}
	return prefix, ok
}

// has reports whether name is one of the class's, or that of an ignored tensor.
func (n *Table) has(name string) bool {
	fits := func(pattern string) bool { return Matches(pattern, name) }
	return slices.ContainsFunc(slices.Collect(maps.Values(n.Stored)), fits) || slices.ContainsFunc(n.Ignored, fits)
}
