package stray

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"thimble/internal/defect"
)

// A folder is a directory that did not open as a model.
type folder struct {
	path    string
	entries []os.DirEntry
}

// lookInside describes a directory that did not open by what it holds.
func lookInside(path string) (string, bool) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", false
	}
	f := &folder{path, entries}
	if len(entries) == 0 {
		return "an empty directory; name the directory with the config.json and the weights", true
	}
	if text, ok := f.impostor(); ok {
		return text, true
	}
	if f.hasWeights() { // what is wrong with them matters more
		return "", false
	}
	for _, look := range []func(*folder) string{
		(*folder).adapter, (*folder).distributed, (*folder).cached, (*folder).training, (*folder).variant, (*folder).files, (*folder).models,
	} {
		if text := look(f); text != "" {
			return text, true
		}
	}
	return "", false
}

func (f *folder) has(name string) bool { return exists(filepath.Join(f.path, name)) }

// hasWeights reports whether f has weights under a name by which they open.
func (f *folder) hasWeights() bool {
	return slices.ContainsFunc([]string{
		"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth", "consolidated.safetensors",
	}, f.has)
}

// first returns the name of the first entry that matches a regular expression, or "".
func (f *folder) first(pattern string) string {
	is := regexp.MustCompile(pattern)
	for _, e := range f.entries {
		if is.MatchString(e.Name()) {
			return e.Name()
		}
	}
	return ""
}

// impostor describes a file of the checkpoint that is a pointer of Git LFS or a web page.
func (f *folder) impostor() (string, bool) {
	for _, e := range f.entries {
		name := e.Name()
		if e.IsDir() || !slices.Contains([]string{".safetensors", ".bin", ".pth", ".pt", ".json", ".model", ".gguf"}, filepath.Ext(name)) {
			continue
		}
		if what := pretends(filepath.Join(f.path, name)); what != "" {
			return "its " + defect.Printable(name) + " is " + what, true
		}
	}
	return "", false
}

// pretends says what the file at path is, if it stands in place of another.
func pretends(path string) string { return Impostor(read(path, impostorBytes)) }

const impostorBytes = 128 // by which an impostor is recognized

// Impostor says what a file that begins with head is, if it stands in place of another: a
// pointer of Git LFS, or a web page that was downloaded instead.
func Impostor(head []byte) string {
	text := strings.TrimPrefix(string(head[:min(len(head), impostorBytes)]), "\ufeff")
	text = strings.ToLower(strings.TrimSpace(text))
	switch {
	case strings.HasPrefix(text, pointer):
		return pointerText
	case strings.HasPrefix(text, "<!doctype html"), strings.HasPrefix(text, "<html"):
		return webPage
	}
	return ""
}

// read returns the first bytes of the file at path, at most n; nil if it is not a regular
// file, as opening a pipe would block.
func read(path string, n int64) []byte {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, n))
	return b
}

// adapter describes a LoRA adapter without its base model.
func (f *folder) adapter() string {
	const name = "adapter_config.json"
	if !f.has(name) {
		return ""
	}
	base, of := "BASE", ""
	var config struct {
		Base string `json:"base_model_name_or_path"`
	}
	if json.Unmarshal(read(filepath.Join(f.path, name), 1<<20), &config) == nil && config.Base != "" {
		base = defect.Printable(config.Base)
		of = " of " + base
		if hubName.MatchString(base) && !exists(config.Base) {
			base = "hf://" + base
		}
	}
	return fmt.Sprintf("a LoRA adapter%s; name its base model, and the adapter with --lora: thimble convert %s --lora %s -o merged.gguf", of, base, shown(f.path, ""))
}

var hubName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$`)

// distributed describes the shards that training programs write for themselves.
func (f *folder) distributed() string {
	if f.first(`\.distcp$`) != "" {
		return fmt.Sprintf("a distributed checkpoint of PyTorch; join it: python -m torch.distributed.checkpoint.format_utils dcp_to_torch %s pytorch_model.bin, "+
			"then put the config.json next to pytorch_model.bin", shown(f.path, ""))
	}
	if inner := f.first(`^pytorch_model_fsdp_\d+$`); inner != "" {
		return fmt.Sprintf("a checkpoint of FSDP in shards; join it: accelerate merge-weights %s %s", shown(f.path, inner), shown(f.path, ""))
	}
	if f.has("zero_to_fp32.py") {
		return fmt.Sprintf("a checkpoint of DeepSpeed in shards; join it: python %s %s %s", shown(f.path, "zero_to_fp32.py"), shown(f.path, ""), shown(f.path, ""))
	}
	if f.first(`^(mp_rank_\d+_model_states|zero_pp_rank_.*)\.pt$`) != "" {
		return "shards of DeepSpeed; join them with the zero_to_fp32.py of the directory above"
	}
	return ""
}

// cached describes a directory of the Hugging Face cache.
func (f *folder) cached() string {
	const what = "a directory of the Hugging Face cache; name the snapshot with the model: "
	if s := snapshot(f.path); s != "" {
		return what + defect.Printable(s)
	}
	for _, e := range f.entries {
		inside := filepath.Join(f.path, e.Name())
		if e.IsDir() && e.Name() == "hub" { // the cache of all programs
			return (&folder{inside, entriesOf(inside)}).cached()
		}
		if s := snapshot(inside); s != "" && strings.HasPrefix(e.Name(), "models--") {
			return what + "for example " + defect.Printable(s)
		}
		if filepath.Base(f.path) == "snapshots" && isModel(inside) {
			return what + defect.Printable(inside)
		}
	}
	return ""
}

// snapshot returns the snapshot of the model whose cache is the directory at path: that of
// the branch main, or else the last; or "".
func snapshot(path string) string {
	all, err := os.ReadDir(filepath.Join(path, "snapshots"))
	if err != nil {
		return ""
	}
	if name := strings.TrimSpace(string(read(filepath.Join(path, "refs", "main"), 100))); filepath.IsLocal(name) && isModel(filepath.Join(path, "snapshots", name)) {
		return filepath.Join(path, "snapshots", name)
	}
	for _, e := range slices.Backward(all) {
		if s := filepath.Join(path, "snapshots", e.Name()); isModel(s) {
			return s
		}
	}
	return ""
}

// isModel reports whether the directory at path looks like a model.
func isModel(path string) bool {
	return exists(filepath.Join(path, "config.json")) || exists(filepath.Join(path, "params.json")) || exists(filepath.Join(path, "adapter_config.json")) ||
		(&folder{path, entriesOf(path)}).first(`\.gguf$`) != ""
}

func entriesOf(path string) []os.DirEntry {
	entries, _ := os.ReadDir(path)
	return entries
}

// training describes the output directory of a training with checkpoints inside.
func (f *folder) training() string {
	last, name := -1, ""
	for _, e := range f.entries {
		number, ok := strings.CutPrefix(e.Name(), "checkpoint-")
		n, err := strconv.Atoi(number)
		if ok && err == nil && n > last && isModel(filepath.Join(f.path, e.Name())) {
			last, name = n, e.Name()
		}
	}
	if name == "" {
		return ""
	}
	return "a directory of checkpoints of one training; name one of them, such as the last, " + shown(f.path, name)
}

// variant describes weights under names with a variant, such as fp16, and other names by
// which weights do not open.
func (f *folder) variant() string {
	if index := f.first(`^(model\.safetensors|pytorch_model\.bin)\.index\.[\w-]+\.json$`); index != "" {
		parts := strings.Split(index, ".")
		plain := strings.Join(slices.Delete(slices.Clone(parts), 3, 4), ".")
		return fmt.Sprintf("a directory whose weights are the variant %s; to open it, cp %s %s", parts[3], shown(f.path, index), shown(f.path, plain))
	}
	if name := f.first(`^(model|pytorch_model)\.[\w-]+\.(safetensors|bin)$`); name != "" {
		return fmt.Sprintf("a directory whose weights are the variant %s; name the file: %s", strings.Split(name, ".")[1], shown(f.path, name))
	}
	if name := f.first(`-00001-of-00001\.(safetensors|bin)$`); name != "" {
		return "a directory whose weights are in one file, under the name of a shard; name the file: " + shown(f.path, name)
	}
	if name := f.first(`-\d{5}-of-\d{5}\.(safetensors|bin)$`); name != "" {
		return "a directory of shards without their index; download model.safetensors.index.json or pytorch_model.bin.index.json into it too, " +
			"with the config.json"
	}
	return ""
}

// others lists weights of other programs.
var others = []struct{ pattern, text string }{
	{`^flax_model.*\.msgpack$`, "a directory with weights of Flax; transformers 4 converts them: AutoModelForCausalLM.from_pretrained(DIR, from_flax=True).save_pretrained(DIR)"},
	{`^tf_model.*\.h5$`, "a directory with weights of TensorFlow; transformers 4 converts them: AutoModelForCausalLM.from_pretrained(DIR, from_tf=True).save_pretrained(DIR)"},
	{`\.onnx$`, "a directory with ONNX graphs, which cannot be read; name the Hugging Face directory that they were made from"},
}

// files describes model files of other forms.
func (f *folder) files() string {
	if name := f.first(`\.(gguf|thimble)$`); name != "" {
		return "a directory with model files; name one of them, such as " + shown(f.path, name)
	}
	for _, o := range others {
		if f.first(o.pattern) != "" {
			return o.text
		}
	}
	return ""
}

// models describes a directory of models.
func (f *folder) models() string {
	if f.has("config.json") {
		return ""
	}
	for _, e := range f.entries {
		if inside := filepath.Join(f.path, e.Name()); e.IsDir() && isModel(inside) {
			return "a directory of models; name one of them, such as " + defect.Printable(inside)
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
