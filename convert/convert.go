// Package convert opens a training checkpoint as a model with canonical tensor names and
// shapes, whose Spec describes its computation. Each architecture is one file, which
// registers itself under its model_type.
package convert

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"thimble/convert/arch"
	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/checkpoint"
	"thimble/internal/defect"
	"thimble/internal/lora"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// Types that Open and OpenTokenizer return, named here for callers outside this
// module.
type (
	// A Model is an opened model.
	Model = model.Model
	// A Tokenizer is the definition of a tokenizer.
	Tokenizer = tokenizer.Data
)

// Options change how a checkpoint is read.
type Options struct {
	// Set replaces keys of config.json or adds them, each "key=value". A value
	// that is not JSON is a string; null drops the key. "--drop=PATTERN" leaves out the
	// tensors whose names match PATTERN, as path.Match does. "--lora=DIR" merges the LoRA
	// adapter in DIR into the weights.
	Set []string
}

// Open opens a directory in the layout of Hugging Face or Meta, or a single safetensors
// or PyTorch file with its config.json in the same folder. Tensors alias the mapped files
// and are valid until the model is closed. An error is one line that names the file and
// the key or tensor. It is a *format.CorruptError, wraps format.ErrUnsupported, comes from
// the operating system, or concerns Options.
func Open(path string, o Options) (*Model, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := open(path, c, o)
	if err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

func open(path string, c *checkpoint.Checkpoint, o Options) (*model.Model, error) {
	folder := path
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		folder = filepath.Dir(path)
	}
	dir, err := checkpoint.OpenDir(folder)
	if err != nil {
		return nil, err
	}
	cfg, err := configOf(c, dir, o.Set)
	if err != nil {
		return nil, err
	}
	modelType, a, err := arch.Recognize(cfg)
	if err != nil {
		return nil, err
	}
	adapters, err := openAdapters(cfg)
	if err != nil {
		return nil, err
	}
	closeAll := func() error { return errors.Join(adapters.Close(), c.Close()) }
	m, err := build(path, c, cfg, dir, modelType, &a, adapters)
	if err != nil {
		adapters.Close()
		return nil, err
	}
	m.Close = closeAll
	return m, nil
}

// build makes the model of c.
func build(path string, c *checkpoint.Checkpoint, cfg *config.Config, dir *checkpoint.Dir, modelType string, a *arch.Architecture, adapters adapters) (*model.Model, error) {
	adapters.resize(cfg, &a.Names)
	spec := a.Spec(cfg)
	blame := func(err error) error { // the file that lacks sizes, besides the weights that differ
		if sizes := cfg.AssumedSizes(); sizes != "" {
			err = fmt.Errorf("%w; %s", err, sizes)
		}
		return err
	}
	var channels []int32
	for _, c := range cfg.Counts(model.ChannelsKey, "the channel in each place") {
		channels = append(channels, int32(min(c, model.MaxWidth)))
	}
	if err := cfg.Done(modelType); err != nil {
		return nil, err
	}
	m := &model.Model{
		Path:       path,
		Provenance: model.Provenance{Architecture: modelType, Overrides: cfg.Overrides(), Channels: channels},
		Files:      slices.Concat(c.Files, []string{cfg.File}, cfg.Beside, adapters.files()),
		Notes:      append(c.Notes, cfg.Notes()...),
		Verify:     func(ctx context.Context, _ func(done, total int64)) error { return c.Verify(ctx) },
	}
	if err := readGeneration(m, &spec, cfg, dir); err != nil {
		return nil, err
	}
	if err := spec.Check(); err != nil {
		return nil, blame(defect.Corrupt(cfg.File, "", "%v", err))
	}
	if err := spec.CheckChannels(channels); err != nil {
		return nil, defect.Corrupt(cfg.File, model.ChannelsKey, "%v", err)
	}
	if len(channels) > 0 && len(adapters) > 0 {
		return nil, fmt.Errorf("%s: its channels are reordered, and those of an adapter are not; merge the adapter with the model that this one was made from", defect.Printable(path))
	}
	if err := bind(m, &spec, cfg, c, &a.Names, adapters); err != nil {
		return nil, blame(err)
	}
	if dir.Has(lora.ConfigName) && len(adapters) == 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%s is of a LoRA adapter beside these weights, which is not applied; --lora %s merges it", lora.ConfigName, defect.Printable(dir.Path)))
	}
	m.Tokenizer = lazyTokenizer(m, dir)
	return m, m.Check()
}

// bind gives m the tensors of c that spec describes.
func bind(m *model.Model, spec *model.Spec, cfg *config.Config, c *checkpoint.Checkpoint, n *names.Table, adapters adapters) error {
	stored, dropped, err := names.LeaveOut(c.Tensors, cfg.Drops)
	if err != nil {
		return err
	}
	kept := map[*checkpoint.Tensor]*qtensor.Matrix{}
	for _, f := range cfg.Packed() {
		unpacked, err := f.Unpack(stored)
		if err != nil {
			return err
		}
		stored = unpacked.Tensors
		maps.Copy(kept, unpacked.Kept)
		m.Notes = append(m.Notes, unpacked.Notes...)
	}
	stored, images := arch.TextTensors(cfg, stored)
	m.Partial = cfg.Wrapper != ""
	if stored, err = n.OwnNames(stored); err != nil {
		return err
	}
	stored, renamed := n.PlainNames(stored)
	m.Notes = slices.Concat(m.Notes, dropped, images, renamed)
	if err := names.Unmerged(stored); err != nil {
		return err
	}
	if stored, err = adapters.merge(m, spec, stored, n); err != nil {
		return err
	}
	if err := tie(m, spec, cfg, stored, n); err != nil {
		return err
	}
	tensors, notes, err := n.Bind(spec, &names.Stored{Path: m.Path, Config: cfg.File, Tensors: stored, Kept: kept, Scaling: cfg.Scaling(), Blocks: blocksKey(cfg), Next: nextBlocks(cfg)})
	if err != nil {
		return err
	}
	m.Spec, m.Tensors = *spec, tensors
	m.Origin = func(canonical string) (string, string) {
		if t := stored[n.Of(canonical)]; t != nil {
			return t.File, t.Name
		}
		return m.Path, canonical // made up, such as gains of 1
	}
	m.Notes = append(m.Notes, notes...)
	return nil
}

// blocksKey returns the key of cfg that says how many blocks the model has.
func blocksKey(cfg *config.Config) string {
	if filepath.Base(cfg.File) == arch.ParamsName {
		return "n_layers"
	}
	return cfg.Spelled("num_hidden_layers")
}

// nextBlocks returns the number of blocks after the model's that predict further tokens.
func nextBlocks(cfg *config.Config) int {
	n, _ := config.Whole(cfg.Values["num_nextn_predict_layers"])
	return max(0, min(n, model.MaxBlocks))
}

// configOf reads the config of c, Meta's or Hugging Face's depending on the layout of c.
func configOf(c *checkpoint.Checkpoint, dir *checkpoint.Dir, set []string) (*config.Config, error) {
	name := config.Name
	if c.Tensors[arch.MetaEmbed] != nil {
		name = arch.ParamsName
	}
	cfg, err := config.Read(dir, name, set)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: missing; copy the %s that was saved with the checkpoint there", defect.Printable(filepath.Join(dir.Path, name)), name)
	}
	if err != nil {
		return nil, err
	}
	cfg.Tensors = c.Tensors
	return cfg, cfg.ReadQuantization(dir)
}

// readGeneration reads generation_config.json: how the authors sample, and the end tokens
// of s if it has any, because instruction-tuned models list the end of a turn only there.
func readGeneration(m *model.Model, s *model.Spec, c *config.Config, dir *checkpoint.Dir) error {
	const name = "generation_config.json"
	if !dir.Has(name) {
		return nil
	}
	g, err := config.Read(dir, name, nil)
	if errors.As(err, new(*defect.CorruptError)) {
		m.Notes = append(m.Notes, fmt.Sprintf("%v: ignored, as in transformers", err))
		return nil
	}
	if err != nil {
		return err
	}
	m.Generation = generationOf(g)
	if err := m.Generation.Check(); err != nil {
		m.Generation = model.Generation{}
		m.Notes = append(m.Notes, fmt.Sprintf("%s: %v: its sampling is ignored", name, err))
	}
	set := c.Overridden("eos_token_id")
	if !set || m.Generation != (model.Generation{}) {
		m.Files = append(m.Files, g.File)
	}
	if set {
		return g.Err()
	}
	ids := g.TokenIDs("eos_token_id", s.Vocab)
	m.Notes = append(m.Notes, g.Notes()...)
	if len(ids) > 0 && !slices.Equal(ids, s.EOS) {
		m.Notes = append(m.Notes, fmt.Sprintf("end tokens %v come from %s; %s has %v", ids, name, config.Name, s.EOS))
		s.EOS = ids
	}
	return g.Err()
}

// generationOf returns the sampling that g recommends, without values that change nothing.
// If do_sample is false, transformers takes the most likely token whatever the others are;
// other programs do not know do_sample, so it counts as true if it is absent and there is
// a temperature.
func generationOf(g *config.Config) (s model.Generation) {
	if penalty := g.Float("repetition_penalty", 1); penalty != 1 {
		s.RepetitionPenalty = penalty
	}
	sample := g.Has("temperature")
	if g.Has("do_sample") {
		sample = g.Bool("do_sample")
	}
	if !sample {
		return s
	}
	s.Temperature, s.TopP, s.MinP = g.Float("temperature", 1), g.Float("top_p", 1), g.Float("min_p", 0)
	if s.TopP == 1 {
		s.TopP = 0
	}
	if g.Has("top_k") {
		s.TopK = int(g.Float("top_k"))
	}
	return s
}

// tie decides from the checkpoint's tensors whether the embedding is also the output
// head. A config that contradicts them is an error.
func tie(m *model.Model, s *model.Spec, cfg *config.Config, tensors map[string]*checkpoint.Tensor, n *names.Table) error {
	const keys = "tie_word_embeddings, share_embedding"
	embed, head := tensors[n.Of(model.Embed)], tensors[n.Of(model.Head)]
	if head != nil && s.Tied && slices.Contains(head.Shape, 0) {
		delete(tensors, n.Of(model.Head))
		m.Notes = append(m.Notes, head.Name+" is empty: dropped, the embedding is the head")
		return nil
	}
	switch {
	case embed == nil && head != nil && s.Tied:
		tensors[n.Of(model.Embed)] = head
		delete(tensors, n.Of(model.Head))
		m.Notes = append(m.Notes, fmt.Sprintf("the embedding is stored as %s only: tied", n.Of(model.Head)))
		return nil
	case embed == nil || head == nil && s.Tied:
		return nil
	case head == nil && otherTask(cfg) != "":
		return defect.Corrupt(cfg.File, "architectures", "%s has no head for text, and no %s is stored; convert the model that it was trained from",
			defect.Printable(otherTask(cfg)), n.Of(model.Head))
	case head == nil:
		return defect.Corrupt(cfg.File, keys, "the head is not tied to the embedding, but no %s is stored; "+
			"if the embedding is the head, add --set tie_word_embeddings=true, or --set share_embedding=true for MobileLLM", n.Of(model.Head))
	}
	var same bool
	err := parallel.Guard(func() error {
		same = slices.Equal(embed.Shape, []int{s.Vocab, s.Hidden}) && checkpoint.Same(head, embed)
		head.Release()
		embed.Release()
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", defect.Printable(head.File), err)
	case same:
		s.Tied = true
		m.Notes = append(m.Notes, fmt.Sprintf("%s equals %s byte for byte: tied, stored once", head.Name, embed.Name))
	case s.Tied && cfg.Value("share_embedding") != true:
		s.Tied = false
		m.Notes = append(m.Notes, fmt.Sprintf("tie_word_embeddings is true, but %s is stored and differs from %s: both are kept, as in transformers 5; --drop %s ties them, as in version 4",
			head.Name, embed.Name, head.Name))
	case s.Tied:
		return defect.Corrupt(cfg.File, keys, "the head is tied to the embedding, but %s is stored and differs from %s; "+
			"correct the config, or leave out the tensor that was not trained, such as with --drop %s", head.Name, embed.Name, n.Of(model.Head))
	}
	return nil
}

// otherTask returns the class in architectures, if it is of another task than text, or "".
func otherTask(cfg *config.Config) string {
	list, _ := cfg.Value("architectures").([]any)
	for _, v := range list {
		if class, _ := v.(string); slices.ContainsFunc([]string{"ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "RewardModel"}, func(task string) bool {
			return strings.HasSuffix(class, task)
		}) {
			return class
		}
	}
	return ""
}
