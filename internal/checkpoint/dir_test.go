package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/defect"
)

// tree creates a directory with the given files. A text that starts with "->" gives the
// target of a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if target, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shard returns a file with the named tensors, of one byte each.
func shard(names ...string) string {
	var h []string
	for i, name := range names {
		h = append(h, tensor(name, "U8", "[1]", i, i+1))
	}
	return string(file("{"+strings.Join(h, ",")+"}", len(names)))
}

const (
	first  = "model-00001-of-00002.safetensors"
	second = "model-00002-of-00002.safetensors"
	index  = `{"metadata":{"total_size":3},"weight_map":{"a":"` + second + `","b":"` + first + `","c":"` + second + `"}}`
)

func TestShards(t *testing.T) {
	dir := tree(t, map[string]string{indexName: index, first: shard("b"), second: shard("a", "c"), "other.safetensors": "x"})
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if diff := cmp.Diff([]string{"a", "b", "c"}, c.Names()); diff != "" {
		t.Error(diff)
	}
	want := []string{filepath.Join(dir, indexName), filepath.Join(dir, first), filepath.Join(dir, second)}
	if diff := cmp.Diff(want, c.Files); diff != "" {
		t.Error(diff)
	}
	if got := c.Tensors["c"]; got.File != want[2] || got.Data[0] != 1 {
		t.Errorf("c is %v", got)
	}
}

func TestSingleBeforeIndex(t *testing.T) {
	dir := tree(t, map[string]string{indexName: "junk", singleName: shard("a")})
	c, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := []string{"model.safetensors is used and model.safetensors.index.json is ignored, as in transformers"}
	if diff := cmp.Diff(want, c.Notes); diff != "" {
		t.Error(diff)
	}
}

// An index that does not match its shards is noted: the shards say what they hold.
func TestStaleIndex(t *testing.T) {
	for name, c := range map[string]struct{ index, note string }{
		"absent":   {strings.Replace(index, `"a"`, `"z":"`+first+`","a"`, 1), "tensors that model.safetensors.index.json lists and no shard holds: 1, such as z"},
		"unlisted": {strings.Replace(index, `"a":"`+second+`",`, "", 1), "tensors that model.safetensors.index.json does not list: 1, such as a"},
		"moved":    {strings.Replace(index, `"a":"`+second, `"a":"`+first, 1), "tensors that model.safetensors.index.json lists in another shard: 1, such as a"},
		"more":     {strings.Replace(index, "{", `{"x":[1],`, 1), ""},
	} {
		k, err := Open(tree(t, map[string]string{indexName: c.index, first: shard("b"), second: shard("a", "c")}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Join(k.Notes, "; ") != c.note || len(k.Tensors) != 3 {
			t.Errorf("%s: %d tensors, notes %q", name, len(k.Tensors), k.Notes)
		}
		k.Close()
	}
}

func TestDirRefuses(t *testing.T) {
	with := func(index string) map[string]string {
		return map[string]string{indexName: index, first: shard("b"), second: shard("a", "c")}
	}
	named := func(name string) map[string]string {
		return with(`{"weight_map":{"a":"` + name + `"}}`)
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // after the directory
	}{
		{"nothing", nil, ": no checkpoint here, want model.safetensors, pytorch_model.bin, an index of shards or consolidated.00.pth; give the folder that holds the weights, or download them into this one"},
		{"another name", map[string]string{"weights.safetensors": ""}, ": no model.safetensors or model.safetensors.index.json; to open weights.safetensors, give its path"},
		{"PyTorch", map[string]string{"pytorch_model.bin": "", "config.json": ""}, "/pytorch_model.bin: byte 0: header length: the file has 0 bytes, want at least 8: it is truncated; copy or download it again"},
		{"PyTorch shards", map[string]string{"pytorch_model-00001-of-00002.bin": ""}, ": no pytorch_model.bin or pytorch_model.bin.index.json; to open pytorch_model-00001-of-00002.bin, give its path"},
		{"Meta", map[string]string{"consolidated.00.pth": ""}, "/consolidated.00.pth: byte 0: header length: the file has 0 bytes, want at least 8: it is truncated; copy or download it again"},
		{"Meta's second", map[string]string{"consolidated.01.pth": ""}, ": no pytorch_model.bin or pytorch_model.bin.index.json; to open consolidated.01.pth, give its path"},
		{"a gap in Meta's", map[string]string{"consolidated.00.pth": shard("a"), "consolidated.01.pth": shard("a"), "consolidated.03.pth": ""}, "/consolidated.03.pth: consolidated.02.pth is missing"},
		{"directory", map[string]string{"model.safetensors/x": ""}, "/model.safetensors: not a regular file"},
		{"link to nothing", map[string]string{singleName: "->../x"}, "/model.safetensors: a symbolic link to nothing (no such file or directory): fetch the file that it is for, or replace it with the file itself"},
		{"link to a directory", map[string]string{singleName: "->.."}, "/model.safetensors: not a regular file"},
		{"link to itself", map[string]string{singleName: "->" + singleName}, "/model.safetensors: a symbolic link to nothing (too many levels of symbolic links): fetch the file that it is for, or replace it with the file itself"},
		{"index of nothing", with(""), "/model.safetensors.index.json: byte 0: the text ends, want an object"},
		{"index without a map", with(`{"metadata":{}}`), "/model.safetensors.index.json: weight_map: names 0 shards, want 1 to 4096"},
		{"index twice", with(index + index), "/model.safetensors.index.json: byte 161: unexpected '{' after the value"},
		{"duplicate tensor in the index", with(`{"weight_map":{"a":"x","\u0061":"y"}}`), `/model.safetensors.index.json: byte 31: weight_map: key "a" occurs twice`},
		{"number for a shard", with(`{"weight_map":{"a":1}}`), `/model.safetensors.index.json: byte 19: weight_map.a: found a number, want a string`},
		{"shard outside", named("../secret"), `/model.safetensors.index.json: byte 30: weight_map.a: shard "../secret" is not a plain file name`},
		{"absolute shard", named("/etc/passwd"), `/model.safetensors.index.json: byte 32: weight_map.a: shard "/etc/passwd" is not a plain file name`},
		{"shard with a backslash", named(`..\\secret`), `/model.safetensors.index.json: byte 31: weight_map.a: shard "..\\secret" is not a plain file name`},
		{"shard with NUL", named(`a\u0000`), `/model.safetensors.index.json: byte 28: weight_map.a: shard "a\x00" is not a plain file name`},
		{"shard is the directory", named("."), `/model.safetensors.index.json: byte 22: weight_map.a: shard "." is not a plain file name`},
		{"missing shard", named("x"), "/model.safetensors.index.json: weight_map: shard x is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, c.files)
			k, err := Open(dir)
			if err == nil {
				k.Close()
				t.Fatal("Open accepts the directory")
			}
			if got := err.Error(); filepath.ToSlash(got) != filepath.ToSlash(dir+c.want) {
				t.Errorf("got  %s\nwant %s%s", got, dir, c.want)
			}
		})
	}
	t.Run("tensor in two shards", func(t *testing.T) {
		index := strings.Replace(index, `"b":"`+first, `"z":"`+first, 1)
		dir := tree(t, map[string]string{indexName: index, first: shard("b"), second: string(file("{"+tensor("b", "U8", "[2]", 0, 2)+","+tensor("a", "U8", "[1]", 2, 3)+"}", 3))})
		_, err := Open(dir)
		if want := filepath.Join(dir, second) + ": b: tensor is also stored in " + filepath.Join(dir, first) + ", with other contents, and no index assigns it to one of them; remove the file that does not belong to the checkpoint"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	t.Run("tensor in two shards, of which the index names one", func(t *testing.T) {
		for _, named := range []string{first, second} {
			index := strings.Replace(index, `"b":"`+first, `"b":"`+named, 1)
			dir := tree(t, map[string]string{
				indexName: index, first: string(file("{"+tensor("b", "U8", "[1]", 0, 1)+","+tensor("d", "U8", "[1]", 1, 2)+"}", 2)),
				second: string(file("{"+tensor("b", "U8", "[2]", 0, 2)+","+tensor("a", "U8", "[1]", 2, 3)+","+tensor("c", "U8", "[1]", 3, 4)+"}", 4)),
			})
			if named == second { // it must still name the first
				if err := os.WriteFile(filepath.Join(dir, indexName), []byte(strings.Replace(index, "{\"a\"", `{"d":"`+first+`","a"`, 1)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := filepath.Base(c.Tensors["b"].File); got != named {
				t.Errorf("b is from %s, the index says %s", got, named)
			}
			if want := "tensors that two shards hold, with different contents: 1, such as b; model.safetensors.index.json assigns each to a shard"; !slices.Contains(c.Notes, want) {
				t.Errorf("notes are %q", c.Notes)
			}
			c.Close()
		}
	})
	t.Run("tensor in two shards, the same", func(t *testing.T) {
		c, err := Open(tree(t, map[string]string{indexName: index, first: shard("b"), second: shard("b", "a", "c")}))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if !slices.Contains(c.Notes, "tensors that two shards hold, with the same contents: 1, such as b") {
			t.Errorf("notes are %q", c.Notes)
		}
	})
}

// A user's own directory may consist of links to elsewhere: the Hugging Face cache stores
// files in blobs and links to them from snapshots, DVC links to its cache.
func TestLinks(t *testing.T) {
	const snapshot = "models--org--name/snapshots/0123/"
	store := tree(t, map[string]string{"files/md5/ab": shard("b"), "files/md5/cd": shard("a", "c"), "files/md5/ef": index})
	dir := tree(t, map[string]string{
		"models--org--name/blobs/aa": shard("b"),
		"models--org--name/blobs/bb": shard("a", "c"),
		"models--org--name/blobs/cc": index,
		snapshot + first:             "->../../blobs/aa",
		snapshot + second:            "->../../blobs/bb",
		snapshot + indexName:         "->../../blobs/cc",
		snapshot + "gone":            "->../../blobs/gone",
		"link":                       "->" + snapshot,
		"dvc/" + first:               "->" + store + "/files/md5/ab",
		"dvc/" + second:              "->" + store + "/files/md5/cd",
		"dvc/" + indexName:           "->" + store + "/files/md5/ef",
	})
	for _, path := range []string{snapshot, "link", "dvc"} {
		c, err := Open(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"a", "b", "c"}, c.Names()); diff != "" {
			t.Error(diff)
		}
		c.Close()
	}
	d, err := OpenDir(filepath.Join(dir, snapshot))
	if err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{first: true, "gone": false, "../../blobs/aa": false} {
		f, err := d.Open(name)
		if err == nil {
			f.Close()
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
		if errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v wraps os.ErrNotExist", name, err)
		}
	}
	if _, err := d.Open("absent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if d.Has("../../blobs/aa") || !d.Has("gone") {
		t.Error("Has looks outside the directory or follows links")
	}
	if _, err := OpenDir(filepath.Join(dir, snapshot, first)); err == nil {
		t.Error("OpenDir opens a file")
	}
}

// An error other than that there is no such entry must not make a file look absent: a model would
// then be converted without its tokenizer.
func TestHasUnknown(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows says of a file below a file that it does not exist")
	}
	file := filepath.Join(tree(t, map[string]string{"file": "x"}), "file")
	d := &Dir{file}
	if !d.Has("tokenizer.json") {
		t.Error("Has hides an error")
	}
	if _, err := d.Open("tokenizer.json"); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	d, err := OpenDir(tree(t, map[string]string{"ten": "0123456789"}))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := d.ReadFile("ten", 10); err != nil || string(b) != "0123456789" {
		t.Errorf("ReadFile returns %q, %v", b, err)
	}
	var corrupt *defect.CorruptError
	if _, err := d.ReadFile("ten", 9); !errors.As(err, &corrupt) || corrupt.Why != "10 bytes, want at most 9" {
		t.Errorf("got %v", err)
	}
}

// parseIndex returns a one-line error, or shards that have plain names and are exactly
// those in the map.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{
		index, "", "{}", `{"metadata":{}}`, `{"weight_map":{}}`, `{"weight_map":{"a":"../x"}}`, `{"weight_map":{"a":"x","\u0061":"y"}}`,
		`{"metadata":[[[[]]]],"weight_map":{"":"x.safetensors","b\n":"x.safetensors"}}`, `{"weight_map":{"a":"a\u0000"},"weight_map":{}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		shardOf, shards, err := parseIndex("index.json", text)
		if err != nil {
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("error has control characters: %q", err)
			}
			return
		}
		used := map[string]bool{}
		for name, shard := range shardOf {
			used[shard] = true
			if filepath.Base(shard) != shard || shard == "." || shard == ".." {
				t.Errorf("%q is in shard %q, which is not a plain name", name, shard)
			}
		}
		if len(shards) != len(used) || len(shards) > maxShards || !slices.IsSorted(shards) {
			t.Errorf("shards are %q, the map uses %v", shards, used)
		}
	})
}
