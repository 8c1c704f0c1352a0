package convert

import (
	"errors"
	"fmt"
	"maps"

	"thimble/convert/config"
	"thimble/convert/names"
	"thimble/internal/checkpoint"
	"thimble/internal/lora"
	"thimble/internal/model"
	"thimble/internal/strictjson"
)

// adapters are merged one after the other.
type adapters []*lora.Adapter

// openAdapters opens the adapters that the overrides name.
func openAdapters(cfg *config.Config) (all adapters, err error) {
	for _, path := range cfg.Loras {
		a, err := lora.Open(path)
		if err != nil {
			all.Close()
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// Close closes all adapters.
func (all adapters) Close() error {
	var errs []error
	for _, a := range all {
		errs = append(errs, a.Close())
	}
	return errors.Join(errs...)
}

func (all adapters) files() (files []string) {
	for _, a := range all {
		files = append(files, a.Files...)
	}
	return files
}

// resize sets the size of the vocabulary to that of an embedding that an adapter stores whole:
// tokens were added before the training.
func (all adapters) resize(cfg *config.Config, n *names.Table) {
	const key = "vocab_size"
	for _, a := range all {
		rows := a.Rows(n.Of(model.Embed))
		if old, ok := config.Whole(cfg.Values[key]); !ok || rows == 0 || rows == old || cfg.Overridden(key) {
			continue
		}
		cfg.Note(fmt.Sprintf("%s is %d, the rows of the adapter's embedding, instead of %s", key, rows, config.Show(cfg.Values[key])))
		cfg.Values[key] = strictjson.Number(fmt.Sprint(rows))
	}
}

// merge returns the stored tensors with the adapters merged in. An adapter that stores a tied
// embedding whole unties the head, which stays as it was, as in peft.
func (all adapters) merge(m *model.Model, spec *model.Spec, stored map[string]*checkpoint.Tensor, n *names.Table) (map[string]*checkpoint.Tensor, error) {
	if len(all) == 0 {
		return stored, nil
	}
	out := maps.Clone(stored)
	for _, a := range all {
		embed, head := n.Of(model.Embed), n.Of(model.Head)
		if a.Rows(embed) > 0 && a.Rows(head) == 0 && !a.Changes(embed) && spec.Tied && out[head] == nil && out[embed] != nil {
			old := *out[embed]
			old.Name = head
			out[head], spec.Tied = &old, false
			m.Notes = append(m.Notes, "the adapter stores the embedding whole: no longer tied to the head, as in peft")
		}
		note, err := a.Apply(out)
		if err != nil {
			return nil, err
		}
		m.Notes = append(m.Notes, note)
	}
	return out, nil
}
