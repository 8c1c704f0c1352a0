package names

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// LeaveOut removes the tensors that match the patterns of --drop, and notes their number.
func LeaveOut(tensors map[string]*checkpoint.Tensor, drops []string) (map[string]*checkpoint.Tensor, []string, error) {
	if len(drops) == 0 {
		return tensors, nil, nil
	}
	var notes []string
	left := maps.Clone(tensors)
	for _, pattern := range drops {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, nil, fmt.Errorf("--drop %s: not a pattern: [ without ], or a range without an end", defect.Printable(pattern))
		}
		before := len(left)
		maps.DeleteFunc(left, func(name string, _ *checkpoint.Tensor) bool {
			ok, _ := path.Match(pattern, name)
			return ok
		})
		if len(left) == before {
			return nil, nil, fmt.Errorf("--drop %s: no tensor of the checkpoint matches; quote the pattern so that the shell keeps its *", defect.Printable(pattern))
		}
		notes = append(notes, fmt.Sprintf("%s (%d of them): dropped by --drop", defect.Printable(pattern), before-len(left)))
	}
	return left, notes, nil
}

// buffers lists tensors that PyTorch code stores although they follow from the config: no
// model of transformers loads them.
var buffers = []struct {
	name *regexp.Regexp
	what string
}{
	{regexp.MustCompile(`(^|\.)(\w*_)?inv_freq$|(^|\.)(cos|sin|cos_sin)_cached?$|(^|\.)(freqs_cis|rope\.freqs|freqs)$`), "a table of the rotary embedding"},
	{regexp.MustCompile(`(^|\.)(position|token_type)_ids$`), "the numbers of the positions"},
	{regexp.MustCompile(`(^|\.)(attn|attention|self_attn)\.(masked_bias|mask)$|(^|\.)(causal|attention|attn|triangular)_mask$`), "a causal mask"},
	{regexp.MustCompile(`(^|\.)(input|output|[qkv])_(scale|zero_point|scale_ub|global_scale)$`), "a scale of activations, which are not quantized here"},
	{regexp.MustCompile(`(^|\.)(cache_[kv]|[kv]_cache|_extra_state)$`), "a state of the program that ran the model"},
	{regexp.MustCompile(`^(v_head|value_head|reward_head|score|classifier|qa_outputs)\.`), "a head for another task than text"},
	{regexp.MustCompile(`^(model\.)?mtp(_layers|_block)?\.`), "what predicts further tokens"},
}

// IsBuffer says what t is if it cannot change the model's results.
func IsBuffer(t *checkpoint.Tensor, name string) (what string, ok bool) {
	if slices.Contains(t.Shape, 0) {
		return "empty", true
	}
	for _, b := range buffers {
		if b.name.MatchString(name) {
			return b.what, true
		}
	}
	// The triangle that GPT-2's attention calls bias: (1, 1, context, context).
	if n := len(t.Shape); n == 4 && t.Shape[2] == t.Shape[3] && (strings.HasSuffix(name, "attn.bias") || strings.HasSuffix(name, "attention.bias")) {
		return "a causal mask", true
	}
	if len(t.Shape) == 1 && strings.HasSuffix(name, ".bias") && isZero(t) {
		return "a bias of zeros", true
	}
	return "", false
}

// isZero reports whether every byte of a tensor is zero.
func isZero(t *checkpoint.Tensor) (zero bool) {
	err := parallel.Guard(func() error {
		row := t.Row(make([]byte, t.RowBytes()), 0)
		zero = !slices.ContainsFunc(row, func(b byte) bool { return b != 0 })
		return nil
	})
	return err == nil && zero
}

// Unmerged returns an error if the tensors hold the matrices of an adapter, whose product
// belongs to the weights beside them.
func Unmerged(tensors map[string]*checkpoint.Tensor) error {
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		if strings.Contains(name, ".lora_A.") || strings.Contains(name, ".lora_embedding_A") || strings.Contains(name, ".lora_magnitude_vector") {
			return fmt.Errorf("%s: %w; if the checkpoint is an adapter, name the base model and --lora with the directory of the adapter; otherwise merge it with merge_and_unload of peft", defect.Printable(tensors[name].File),
				defect.Unsupported(name, "a LoRA adapter that is not merged into the weights"))
		}
	}
	return nil
}

// blockNumber matches the number of a block in a name.
var blockNumber = regexp.MustCompile(`\.(0|[1-9][0-9]*)\.`)

// drop returns notes on the converted and the ignored tensors. An unused tensor that could
// belong to the model is an error, which names all of them.
func (b *binding) drop() (notes []string, err error) {
	for _, note := range slices.Sorted(maps.Keys(b.count)) {
		notes = append(notes, fmt.Sprintf("%d %s", b.count[note], note))
	}
	ignored, inert := map[string]int{}, map[string]int{}
	var strange []string
	apart := 0
	for _, name := range slices.Sorted(maps.Keys(b.unused)) {
		if i := slices.IndexFunc(b.Ignored, func(pattern string) bool { return Matches(pattern, name) }); i >= 0 {
			ignored[b.Ignored[i]]++
		} else if b.apart != "" && strings.HasPrefix(name, b.apart) {
			apart++
		} else if b.isNext(name) {
			inert[b.pattern(name)+"\x00what predicts further tokens"]++
		} else if what, ok := IsBuffer(b.unused[name], name); ok {
			inert[blockNumber.ReplaceAllString(defect.Printable(name), ".*.")+"\x00"+what]++
		} else {
			strange = append(strange, name)
		}
	}
	if len(strange) > 0 {
		return nil, b.strange(strange)
	}
	for _, pattern := range b.Ignored {
		if ignored[pattern] > 0 {
			notes = append(notes, fmt.Sprintf("%s (%d of them): dropped, computed from %s instead", pattern, ignored[pattern], filepath.Base(b.file)))
		}
	}
	if apart > 0 {
		notes = append(notes, fmt.Sprintf("%s* (%d of them): dropped, transformers does not load them either", b.apart, apart))
	}
	for _, key := range slices.Sorted(maps.Keys(inert)) {
		name, what, _ := strings.Cut(key, "\x00")
		notes = append(notes, fmt.Sprintf("%s (%d of them): dropped, %s", name, inert[key], what))
	}
	return notes, nil
}

// isNext reports whether a tensor belongs to one of the blocks after the model's that predict
// further tokens, as GLM 4.5's.
func (b *binding) isNext(name string) bool {
	at := blockNumber.FindStringSubmatch(name)
	if at == nil {
		return false
	}
	n, err := strconv.Atoi(at[1])
	return err == nil && n >= b.blocks && n < b.blocks+b.next
}

// pattern returns a pattern for --drop that matches name: that of a whole block if the
// model has too few, or else with any number of a block.
func (b *binding) pattern(name string) string {
	shown := defect.Printable(name)
	at := blockNumber.FindStringSubmatchIndex(shown)
	if at == nil {
		return shown
	}
	if n, err := strconv.Atoi(shown[at[2]:at[3]]); err == nil && n >= b.blocks {
		return shown[:at[1]] + "*"
	}
	return blockNumber.ReplaceAllString(shown, ".*.")
}

// strange returns the error for tensors that the model does not have.
func (b *binding) strange(all []string) error {
	file, config := b.unused[all[0]].File, filepath.Base(b.file)
	if len(all) == 1 {
		return defect.Corrupt(file, all[0], "the checkpoint has this tensor, but %s describes a model without it; if it does not belong to the model, --drop %s leaves it out",
			config, defect.Printable(all[0]))
	}
	count := map[string]int{}
	var patterns []string
	for _, name := range all {
		pattern := b.pattern(name)
		if count[pattern]++; count[pattern] == 1 {
			patterns = append(patterns, pattern)
		}
	}
	slices.Sort(patterns)
	var drops []string
	for _, pattern := range patterns[:min(len(patterns), 8)] {
		drops = append(drops, "--drop '"+pattern+"'")
	}
	leave := "leaves"
	if len(drops) > 1 {
		leave = "leave"
	}
	return defect.Corrupt(file, "", "the checkpoint has %d tensors, but %s describes a model without them: %s%s; if they do not belong to the model, %s %s them out",
		len(all), config, defect.Some(patterns), b.tooFewBlocks(), strings.Join(drops, " "), leave)
}

// blocksIn returns the number of blocks of which tensors has any tensor, counted up to the
// first without one.
func (n *Table) blocksIn(tensors map[string]*checkpoint.Tensor, slots []model.Slot) int {
	kinds := map[string]bool{}
	for _, s := range slots {
		_, kind, ok := model.SplitName(s.Name)
		if ok && n.Of(model.Name(0, kind)) != n.Of(model.Name(1, kind)) { // all blocks may share a tensor
			kinds[kind] = true
		}
	}
	for b := 0; ; b++ {
		found := false
		for kind := range kinds {
			found = found || tensors[n.Of(model.Name(b, kind))] != nil
		}
		if !found {
			return b
		}
	}
}

// tooManyBlocks says that the config has more blocks than are stored, if s is in one of them.
func (b *binding) tooManyBlocks(s model.Slot) string {
	block, _, ok := model.SplitName(s.Name)
	if !ok || b.storedBlocks == 0 || block < b.storedBlocks {
		return ""
	}
	return fmt.Sprintf("; %s: if no file is missing, --set %s=%d corrects it", b.bothBlocks(), b.blocksKey, b.storedBlocks)
}

// tooFewBlocks says that the config has fewer blocks than are stored, or returns "".
func (b *binding) tooFewBlocks() string {
	if b.storedBlocks <= b.blocks {
		return ""
	}
	return fmt.Sprintf("; %s: if all belong to it, --set %s=%d corrects it", b.bothBlocks(), b.blocksKey, b.storedBlocks)
}

func (b *binding) bothBlocks() string {
	return fmt.Sprintf("%s of %s is %d, the checkpoint stores %d blocks", b.blocksKey, filepath.Base(b.file), b.blocks, b.storedBlocks)
}
