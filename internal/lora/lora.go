// Package lora merges low-rank adapters (Hu et al. 2021, arXiv 2106.09685) into the weights
// of a checkpoint, with the results of merge_and_unload of the peft package 0.21 on a CPU: the
// product and its sum with the weight are computed in float32 and rounded to the weight's
// type once. The result is equal to the bit, except for DoRA, whose norms PyTorch sums in an
// order of its own.
package lora

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
)

// ConfigName is the name of the file by which a directory is an adapter.
const ConfigName = "adapter_config.json"

var weightNames = []string{"adapter_model.safetensors", "adapter_model.bin"}

// An Adapter is an opened adapter. Its tensors are valid until Close.
type Adapter struct {
	Path  string
	Files []string // that were read

	config  *config
	file    *checkpoint.Checkpoint
	modules map[string]*module // by the name of the module in the model's class
}

// A module holds what an adapter has for one module of the model.
type module struct {
	weight    *checkpoint.Tensor // in place of the model's own
	a, b      *checkpoint.Tensor // (rank, in) and (out, rank)
	embedding bool               // a is (rank, rows of the embedding) and b (columns, rank)
	magnitude *checkpoint.Tensor // (out), of DoRA
}

// Open opens the adapter in a directory.
func Open(path string) (*Adapter, error) {
	dir, err := checkpoint.OpenDir(path)
	if err != nil {
		return nil, fmt.Errorf("--lora %s: no such directory; name the one with %s", defect.Printable(path), ConfigName)
	}
	if !dir.Has(ConfigName) {
		return nil, fmt.Errorf("--lora %s: no %s there; name the directory of an adapter", defect.Printable(path), ConfigName)
	}
	a := &Adapter{Path: path, modules: map[string]*module{}}
	if a.config, err = readConfig(dir); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(weightNames, dir.Has)
	if i < 0 {
		return nil, fmt.Errorf("--lora %s: neither %s there", defect.Printable(path), strings.Join(weightNames, " nor "))
	}
	weights := filepath.Join(path, weightNames[i])
	if a.file, err = checkpoint.Open(weights); err != nil {
		return nil, err
	}
	a.Files = []string{weights, filepath.Join(path, ConfigName)}
	if err := a.sort(); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// Close unmaps the adapter's file.
func (a *Adapter) Close() error { return a.file.Close() }

// parts maps the ends of the names in an adapter's file to what they hold.
var parts = []struct {
	end string
	of  func(*module) **checkpoint.Tensor
}{
	{".lora_A.weight", func(m *module) **checkpoint.Tensor { return &m.a }},
	{".lora_B.weight", func(m *module) **checkpoint.Tensor { return &m.b }},
	{".lora_embedding_A", func(m *module) **checkpoint.Tensor { m.embedding = true; return &m.a }},
	{".lora_embedding_B", func(m *module) **checkpoint.Tensor { m.embedding = true; return &m.b }},
	{".lora_magnitude_vector", func(m *module) **checkpoint.Tensor { return &m.magnitude }},
	{".lora_magnitude_vector.weight", func(m *module) **checkpoint.Tensor { return &m.magnitude }},
	{".base_layer.weight", func(m *module) **checkpoint.Tensor { return &m.weight }},
	{".modules_to_save.weight", func(m *module) **checkpoint.Tensor { return &m.weight }},
	{".weight", func(m *module) **checkpoint.Tensor { return &m.weight }},
}

// sort assigns the tensors of the file to the modules of the model.
func (a *Adapter) sort() error {
	for _, name := range a.file.Names() {
		t := a.file.Tensors[name]
		plain := withoutAdapterName(strings.TrimPrefix(name, "base_model.model."))
		found := false
		for _, p := range parts {
			of, ends := strings.CutSuffix(plain, p.end)
			if !ends {
				continue
			}
			if a.modules[of] == nil {
				a.modules[of] = &module{}
			}
			slot := p.of(a.modules[of])
			if *slot != nil {
				return defect.Corrupt(t.File, name, "the adapter has this twice, also as %s", defect.Printable((*slot).Name))
			}
			*slot, found = t, true
			break
		}
		if !found {
			return fmt.Errorf("%w; %s", defect.Unsupported(t.File, "%s, which is no part of a LoRA adapter of matrices,", defect.Printable(name)), mergeFirst)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.modules)) {
		if err := a.check(name, a.modules[name]); err != nil {
			return err
		}
	}
	return nil
}

// withoutAdapterName returns the name of a tensor as peft saves it. The state of a model in
// training has the name of the adapter in it too, usually default.
func withoutAdapterName(name string) string {
	for _, part := range []string{".lora_A.", ".lora_B.", ".lora_magnitude_vector.", ".modules_to_save."} {
		before, after, ok := strings.Cut(name, part)
		if adapter, is := strings.CutSuffix(after, ".weight"); ok && is && !strings.Contains(adapter, ".") {
			return before + strings.TrimSuffix(part, ".") + ".weight"
		}
	}
	return name
}

// check checks the shapes of a module's tensors against each other and the config.
func (a *Adapter) check(name string, m *module) error {
	file := a.Files[0]
	rank, err := a.config.rank(name)
	if err != nil {
		return err
	}
	switch {
	case (m.a == nil) != (m.b == nil):
		return defect.Corrupt(file, name, "the adapter has only one of its two matrices")
	case m.a == nil && m.magnitude != nil:
		return defect.Corrupt(file, name, "the adapter has a magnitude without matrices")
	case m.weight != nil && len(m.weight.Shape) != 1 && len(m.weight.Shape) != 2:
		return defect.Corrupt(file, name, "shape is %v, want a vector or a matrix", m.weight.Shape)
	case m.a == nil:
		return nil
	case len(m.a.Shape) != 2 || len(m.b.Shape) != 2 || m.a.Shape[0] != m.b.Shape[1]:
		return defect.Corrupt(file, name, "the shapes of its two matrices, %v and %v, do not fit each other", m.a.Shape, m.b.Shape)
	case m.a.Shape[0] != rank:
		return defect.Corrupt(file, name, "its rank is %d, %s requires %d", m.a.Shape[0], ConfigName, rank)
	case a.config.dora != (m.magnitude != nil):
		return defect.Corrupt(file, name, "a magnitude of DoRA is stored: %t, %s has use_dora %t", m.magnitude != nil, ConfigName, a.config.dora)
	case m.magnitude != nil && m.embedding:
		return defect.Unsupported(file, "DoRA of an embedding (%s)", defect.Printable(name))
	case m.magnitude != nil && !slices.Equal(m.magnitude.Shape, m.b.Shape[:1]):
		return defect.Corrupt(file, name, "the magnitude has shape %v, want [%d]", m.magnitude.Shape, m.b.Shape[0])
	}
	return nil
}

// Rows returns the number of rows of the weight that the adapter stores whole in place of the
// model's, 0 if it stores none.
func (a *Adapter) Rows(weight string) int {
	if m := a.modules[strings.TrimSuffix(weight, ".weight")]; m != nil && m.weight != nil {
		return m.weight.Shape[0]
	}
	return 0
}

// Changes reports whether the adapter adds a product of matrices to a weight.
func (a *Adapter) Changes(weight string) bool {
	m := a.modules[strings.TrimSuffix(weight, ".weight")]
	return m != nil && m.a != nil
}

// Apply merges the adapter into the weights of a model, which have the names of its class.
// It returns a note on what it did.
func (a *Adapter) Apply(weights map[string]*checkpoint.Tensor) (note string, err error) {
	var unknown []string
	merged, replaced := 0, 0
	own, renamed := a.ownNames(weights)
	for _, name := range slices.Sorted(maps.Keys(a.modules)) {
		m, at := a.modules[name], own(name)+".weight"
		base := weights[at]
		if base == nil && m.weight == nil {
			unknown = append(unknown, defect.Printable(at))
			continue
		}
		if m.weight != nil {
			if m.a == nil {
				replaced++
			}
			if base, err = inTypeOf(base, m.weight, at); err != nil {
				return "", err
			}
		}
		if m.a != nil {
			if base, err = a.merge(base, m, name); err != nil {
				return "", err
			}
			merged++
		}
		weights[at] = base
	}
	if len(unknown) > 0 {
		return "", fmt.Errorf("--lora %s: the adapter changes %d weights that the checkpoint does not have, such as %s; is it of another model (%s)?",
			defect.Printable(a.Path), len(unknown), unknown[0], defect.Printable(a.config.base))
	}
	note = fmt.Sprintf("LoRA adapter %s: merged into %d weights", defect.Printable(filepath.Base(filepath.Clean(a.Path))), merged)
	note += renamed
	if replaced > 0 {
		note += fmt.Sprintf(", %d stored whole", replaced)
	}
	return note, nil
}

// wrapped are the parts of names that torch.compile and FSDP add.
var wrapped = []string{"_orig_mod.", "_fsdp_wrapped_module."}

// ownNames returns a function from the names of modules in the adapter to those of weights, and a
// note if they differ: training programs wrap models, and the base model alone lacks its class's
// prefix. All names must then change in the same way, and each must be a module of the model.
func (a *Adapter) ownNames(weights map[string]*checkpoint.Tensor) (own func(string) string, note string) {
	same := func(name string) string { return name }
	if a.fits(weights, same) {
		return same, ""
	}
	for cut := range 5 {
		for _, prefix := range []string{"", "model.", "transformer."} {
			own := func(name string) string { return renamed(name, prefix, cut, weights) }
			if !a.fits(weights, own) {
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(a.modules)) {
				if own(name) != name {
					return own, fmt.Sprintf(" (its %s taken for %s)", defect.Printable(name), defect.Printable(own(name)))
				}
			}
		}
	}
	return same, ""
}

// renamed returns the name of a module without what wraps it, and with a prefix in place of its
// first cut parts. A module outside the blocks, such as the head, has the longest rest of its
// name that is a weight's.
func renamed(name, prefix string, cut int, weights map[string]*checkpoint.Tensor) string {
	for _, w := range wrapped {
		name = strings.ReplaceAll(name, w, "")
	}
	parts := strings.Split(name, ".")
	if slices.Contains(parts, "layers") || slices.Contains(parts, "h") {
		return prefix + strings.Join(parts[min(cut, len(parts)):], ".")
	}
	for i := range parts {
		for _, p := range []string{"", prefix} {
			if rest := p + strings.Join(parts[i:], "."); weights[rest+".weight"] != nil {
				return rest
			}
		}
	}
	return name
}

// fits reports whether own gives every module of the adapter a weight of its own.
func (a *Adapter) fits(weights map[string]*checkpoint.Tensor, own func(string) string) bool {
	seen := map[string]bool{}
	for name := range a.modules {
		at := own(name)
		if weights[at+".weight"] == nil || seen[at] {
			return false
		}
		seen[at] = true
	}
	return true
}
