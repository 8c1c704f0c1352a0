package hub

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"thimble/internal/defect"
)

// companions matches the files that a conversion may read beside the weights.
var companions = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:config|params|generation_config|tokenizer|tokenizer_config|added_tokens|special_tokens_map|vocab|tekken|adapter_config|quantize_config|hf_quant_config)\.json$` +
		`|^tokenizer\.model(?:\.v\d+)?$|\.tiktoken$|^merges\.txt$|^chat_template\.(?:jinja|json)$`)
})

// weights lists the names of weights, in the order in which a directory is opened. An index
// names more files.
var weights = []string{
	"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "consolidated.safetensors",
	"adapter_model.safetensors", "adapter_model.bin",
}

var (
	metaParts = regexp.MustCompile(`^consolidated\.\d\d\.pth$`)
	variants  = regexp.MustCompile(`\.(?:safetensors|bin|pth|pt)$`)
)

// A choice is what to fetch of a repository.
type choice struct {
	folder string   // in the repository, "" for its root
	file   string   // the file that was named, or ""
	files  []string // paths in the repository
	index  string   // the path of an index whose shards are to be fetched too, or ""
}

// choose returns the files that a conversion needs of those in a repository.
func choose(n name, all []string) (*choice, error) {
	if slices.Contains(all, n.path) {
		return named(n.path, all), nil
	}
	c := &choice{folder: n.path}
	inside := map[string]bool{}
	for _, file := range all {
		if dir, base := path.Split(file); strings.TrimSuffix(dir, "/") == n.path {
			inside[base] = true
		}
	}
	if len(inside) == 0 && n.path != "" {
		return nil, fmt.Errorf("%s: the repository has no file or folder %s%s", n, defect.Printable(n.path), mentioned(all))
	}
	for _, base := range weights {
		if !inside[base] {
			continue
		}
		c.add(base)
		if strings.HasSuffix(base, ".index.json") {
			c.index = path.Join(c.folder, base)
		}
		break
	}
	if len(c.files) == 0 {
		return nil, unopened(n, inside)
	}
	for base := range inside {
		if companions().MatchString(base) || metaParts.MatchString(base) && path.Base(c.files[0]) == "consolidated.00.pth" {
			c.add(base)
		}
	}
	c.files = append(c.files, templates(c.folder, all)...)
	slices.Sort(c.files)
	c.files = slices.Compact(c.files)
	return c, nil
}

// templates returns the chat templates that transformers keeps in a folder of their own.
func templates(folder string, all []string) (files []string) {
	for _, file := range all {
		if path.Dir(file) == path.Join(folder, "additional_chat_templates") && path.Ext(file) == ".jinja" {
			files = append(files, file)
		}
	}
	return files
}

func (c *choice) add(base string) { c.files = append(c.files, path.Join(c.folder, base)) }

// named returns the choice of one file, with what a conversion reads beside it.
func named(file string, all []string) *choice {
	dir := strings.TrimSuffix(path.Dir(file), ".")
	c := &choice{folder: dir, file: file, files: []string{file}}
	if ext := path.Ext(file); ext == ".gguf" || ext == ".thimble" {
		if signature := file + ".sig"; slices.Contains(all, signature) {
			c.files = append(c.files, signature)
		}
		return c
	}
	for _, other := range all {
		if path.Dir(other) == path.Dir(file) && other != file && companions().MatchString(path.Base(other)) {
			c.files = append(c.files, other)
		}
	}
	c.files = append(c.files, templates(dir, all)...)
	return c
}

// unopened returns the error for a folder without weights that open by their folder.
func unopened(n name, inside map[string]bool) error {
	var models, others []string
	for base := range inside {
		switch ext := path.Ext(base); {
		case ext == ".gguf" || ext == ".thimble":
			models = append(models, base)
		case variants.MatchString(base):
			others = append(others, base)
		}
	}
	slices.Sort(models)
	slices.Sort(others)
	if found := slices.Concat(models, others); len(found) > 0 {
		n.path = path.Join(n.path, found[0])
		return fmt.Errorf("%s has no weights under their usual names; name one of its %d files, such as %s",
			defect.Printable(n.repo), len(found), n)
	}
	return fmt.Errorf("%s: no weights there: neither safetensors nor PyTorch files, nor .gguf", n)
}

// mentioned names some folders and model files of a repository, for an error.
func mentioned(all []string) string {
	var found []string
	for _, file := range all {
		switch ext := path.Ext(file); {
		case ext == ".gguf" || ext == ".safetensors":
			found = append(found, file)
		case path.Base(file) == "config.json" && path.Dir(file) != ".":
			found = append(found, path.Dir(file))
		}
	}
	if len(found) == 0 {
		return ""
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return "; it has " + defect.Printable(strings.Join(found[:min(len(found), 4)], ", "))
}
