package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/strictjson"
)

const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"

	mistralName = "consolidated.safetensors" // in Meta's layout, by Mistral

	torchName  = "pytorch_model.bin"
	torchIndex = "pytorch_model.bin.index.json"

	maxIndex  = 64 << 20 // bytes
	maxShards = 4096
)

// openDir opens the checkpoint in a directory.
func (c *Checkpoint) openDir(path string) error {
	d, err := OpenDir(path)
	if err != nil {
		return err
	}
	var found []string
	for _, name := range []string{singleName, indexName, torchName, torchIndex, consolidatedName} {
		if d.Has(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 && d.Has(mistralName) {
		return c.openIn(d, mistralName)
	}
	if len(found) == 0 {
		return noCheckpoint(d)
	}
	for _, other := range found[1:] {
		c.Notes = append(c.Notes, found[0]+" is used and "+other+" is ignored, as in transformers")
	}
	switch first := found[0]; first {
	case indexName, torchIndex:
		return c.openShards(d, first)
	case consolidatedName:
		return c.openConsolidated(d)
	default:
		return c.openIn(d, first)
	}
}

// ofTraining are the beginnings of the names of files that a training writes beside the weights.
var ofTraining = []string{"optimizer", "scheduler", "scaler", "rng_state", "training_args"}

// noCheckpoint returns the error for a directory without a checkpoint of the usual
// names. It suggests a file that may be a checkpoint.
func noCheckpoint(d *Dir) error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	dir := defect.Printable(d.Path)
	for _, name := range names {
		if slices.ContainsFunc(ofTraining, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			continue
		}
		switch path.Ext(name) {
		case ".safetensors":
			return fmt.Errorf("%s: no %s or %s; to open %s, give its path", dir, singleName, indexName, defect.Printable(name))
		case ".bin", ".pt", ".pth":
			return fmt.Errorf("%s: no %s or %s; to open %s, give its path", dir, torchName, torchIndex, defect.Printable(name))
		}
	}
	return fmt.Errorf("%s: no checkpoint here, want %s, %s, an index of shards or %s; give the folder that holds the weights, or download them into this one", dir, singleName, torchName, consolidatedName)
}

// openIn opens one file of the directory.
func (c *Checkpoint) openIn(d *Dir, name string) error {
	f, err := d.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := mmap.OpenFile(f)
	if err != nil {
		return err
	}
	return c.add(filepath.Join(d.Path, name), m)
}

// openShards opens every shard in the index. Their own headers say what they hold; an index
// that says something else is noted, as programs that drop or tie tensors leave old ones.
func (c *Checkpoint) openShards(d *Dir, indexName string) error {
	index := filepath.Join(d.Path, indexName)
	text, err := d.ReadFile(indexName, maxIndex)
	if err != nil {
		return err
	}
	c.Files = append(c.Files, index)
	shardOf, shards, err := parseIndex(index, text)
	if err != nil {
		return err
	}
	c.assigned = shardOf
	for _, shard := range shards {
		if err := c.openIn(d, shard); errors.Is(err, os.ErrNotExist) {
			return defect.Corrupt(index, "weight_map", "shard %s is missing", defect.Printable(shard))
		} else if err != nil {
			return err
		}
	}
	var unlisted, moved, absent []string
	for _, name := range c.Names() {
		if shard, ok := shardOf[name]; !ok {
			unlisted = append(unlisted, name)
		} else if shard != filepath.Base(c.Tensors[name].File) {
			moved = append(moved, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(shardOf)) {
		if c.Tensors[name] == nil {
			absent = append(absent, name)
		}
	}
	for _, n := range []struct {
		names []string
		what  string
	}{{unlisted, "does not list"}, {moved, "lists in another shard"}, {absent, "lists and no shard holds"}} {
		if len(n.names) > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("tensors that %s %s: %d, such as %s", indexName, n.what, len(n.names), defect.Printable(n.names[0])))
		}
	}
	if len(c.stale) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("tensors that two shards hold, with different contents: %d, such as %s; %s assigns each to a shard", len(c.stale), defect.Printable(c.stale[0]), indexName))
	}
	if len(c.twice) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("tensors that two shards hold, with the same contents: %d, such as %s", len(c.twice), defect.Printable(c.twice[0])))
	}
	return nil
}

// parseIndex parses {"metadata": ..., "weight_map": {tensor: shard}}. It returns the map
// and the sorted names of the shards. It ignores everything else; the total size in the
// metadata is one that different programs compute differently.
func parseIndex(file string, text []byte) (shardOf map[string]string, shards []string, err error) {
	d := strictjson.NewDecoder(file, 0, text)
	err = d.Object(func(key string) error {
		if key != "weight_map" {
			return d.Skip()
		}
		shardOf = map[string]string{}
		return d.Object(func(name string) error {
			shard, err := d.String()
			if err != nil {
				return err
			}
			if err := checkName(shard); err != nil {
				return d.Fail("shard %v", err)
			}
			shardOf[name] = shard
			return nil
		})
	})
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return nil, nil, err
	}
	seen := map[string]bool{}
	for _, shard := range shardOf {
		seen[shard] = true
	}
	shards = slices.Sorted(maps.Keys(seen))
	if len(shards) < 1 || len(shards) > maxShards {
		return nil, nil, defect.Corrupt(file, "weight_map", "names %d shards, want 1 to %d", len(shards), maxShards)
	}
	return shardOf, shards, nil
}
