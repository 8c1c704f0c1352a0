package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"thimble/internal/defect"
)

const (
	maxIndex  = 64 << 20 // bytes
	maxShards = 4096
)

// Fetch returns the path of a model, hf://owner/name[@revision][/path], in the cache of the
// hub's own programs. It downloads what a conversion reads of it and the cache does not hold:
// of a directory the weights, the config and the tokenizer, of a file that and what belongs
// to it. Each file is checked against the hash that the hub lists, and an interrupted download
// is continued. report is called with the bytes that are there and those of all files.
//
// The environment decides as for huggingface_hub: HF_ENDPOINT, HF_TOKEN, HF_HUB_CACHE,
// HF_HOME and HF_HUB_OFFLINE.
func Fetch(ctx context.Context, source string, report func(done, total int64)) (string, error) {
	n, err := parse(source)
	if err != nil {
		return "", err
	}
	c := openCache()
	if isTrue("HF_HUB_OFFLINE") || isTrue("TRANSFORMERS_OFFLINE") {
		return fromCache(c, n)
	}
	client, err := newClient()
	if err != nil {
		return "", err
	}
	return client.fetch(ctx, c, n, report)
}

// fromCache returns the path of a model that the cache holds in full.
func fromCache(c cache, n name) (string, error) {
	commit, all, err := c.offline(n)
	if err != nil {
		return "", err
	}
	chosen, err := choose(n, all)
	if err != nil {
		return "", fmt.Errorf("%w; HF_HUB_OFFLINE is set, so only the files in the cache count", err)
	}
	if chosen.index == "" {
		return c.path(n, commit, chosen), nil
	}
	shards, err := c.shards(n, commit, chosen)
	if err != nil {
		return "", err
	}
	for _, shard := range shards {
		if !slices.Contains(all, shard) {
			return "", fmt.Errorf("%s: HF_HUB_OFFLINE is set, and the copy in the cache lacks %s; unset HF_HUB_OFFLINE to download it", n, defect.Printable(shard))
		}
	}
	return c.path(n, commit, chosen), nil
}

// path returns the path that opens what was chosen.
func (c cache) path(n name, commit string, chosen *choice) string {
	inside := chosen.file
	if inside == "" {
		inside = chosen.folder
	}
	return filepath.Join(c.snapshot(n.repo, commit), filepath.FromSlash(inside))
}

// shards returns the files that the index of a choice names.
func (c cache) shards(n name, commit string, chosen *choice) ([]string, error) {
	file := filepath.Join(c.snapshot(n.repo, commit), filepath.FromSlash(chosen.index))
	if info, err := os.Stat(file); err != nil || info.Size() > maxIndex {
		return nil, fmt.Errorf("%s: %s is larger than %d bytes", n, defect.Printable(chosen.index), maxIndex)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var index struct {
		Map map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &index); err != nil {
		return nil, fmt.Errorf("%s: %s is not an index of shards: %w", n, defect.Printable(chosen.index), err)
	}
	var shards []string
	for _, shard := range index.Map {
		if !plain(shard) || path.Base(shard) != shard {
			return nil, fmt.Errorf("%s: %s names a shard %q, which is not a plain file name", n, defect.Printable(chosen.index), defect.Printable(shard))
		}
		shards = append(shards, path.Join(chosen.folder, shard))
	}
	slices.Sort(shards)
	if shards = slices.Compact(shards); len(shards) == 0 || len(shards) > maxShards {
		return nil, fmt.Errorf("%s: %s names %d shards, want 1 to %d", n, defect.Printable(chosen.index), len(shards), maxShards)
	}
	return shards, nil
}

func (c *client) fetch(ctx context.Context, store cache, n name, report func(done, total int64)) (string, error) {
	commit, all, err := c.list(ctx, n)
	if err != nil {
		return "", err
	}
	chosen, err := choose(n, all)
	if err != nil {
		return "", err
	}
	if chosen.index != "" { // first, because it names the rest
		if err := c.download(ctx, store, n, commit, []string{chosen.index}, func(int64, int64) {}); err != nil {
			return "", err
		}
		shards, err := store.shards(n, commit, chosen)
		if err != nil {
			return "", err
		}
		for _, shard := range shards {
			if !slices.Contains(all, shard) {
				return "", fmt.Errorf("%s: %s names %s, which the repository does not have", n, defect.Printable(chosen.index), defect.Printable(shard))
			}
		}
		chosen.files = append(chosen.files, shards...)
	}
	if err := c.download(ctx, store, n, commit, chosen.files, report); err != nil {
		return "", err
	}
	if err := store.point(n.repo, n.branch(), commit); err != nil {
		return "", err
	}
	return store.path(n, commit, chosen), nil
}

// download puts files into the cache.
func (c *client) download(ctx context.Context, store cache, n name, commit string, files []string, report func(done, total int64)) error {
	var missing []remote
	var done, total int64
	for _, file := range files {
		if info, err := os.Stat(filepath.Join(store.snapshot(n.repo, commit), filepath.FromSlash(file))); err == nil && info.Mode().IsRegular() {
			continue
		}
		f, err := c.describe(ctx, n, commit, file)
		if err != nil {
			return err
		}
		missing = append(missing, f)
		total += f.size
	}
	for _, f := range missing {
		t := &transfer{client: c, name: n, remote: f, commit: commit, cache: store, report: func(bytes int64) { report(done+bytes, total) }}
		if err := t.run(ctx); err != nil {
			return err
		}
		done += f.size
	}
	return nil
}
