package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"thimble/internal/defect"
)

const torchFiles = "../../fixtures/torch"

// contents returns the bytes of a tensor in row-major order.
func contents(x *Tensor) []byte {
	if x.Source == nil {
		return x.Data
	}
	var all []byte
	for r := range x.Rows() {
		all = append(all, x.Row(make([]byte, x.RowBytes()), r)...)
	}
	return all
}

func open(t testing.TB, path string) *Checkpoint {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Every file layout of torch gives the tensors of the safetensors file.
func TestTorchFiles(t *testing.T) {
	want := open(t, "../../fixtures/mobilellm")
	for name, count := range map[string]int{
		"zip.bin": len(want.Tensors), "sharded": len(want.Tensors), "module.pt": 1,
		"legacy.bin": 10, "parameters.pt": 10, "strided.pt": 10, "strided-legacy.pt": 10,
		"shared.pt": 10, "shared-legacy.pt": 10, "nested.pt": 10, "deflated.pt": 10,
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, filepath.Join(torchFiles, name))
			if len(c.Tensors) != count {
				t.Errorf("%d tensors, want %d: %v", len(c.Tensors), count, c.Names())
			}
			for _, n := range c.Names() {
				got, want := c.Tensors[n], want.Tensors[n]
				if want == nil || got.DType != want.DType || !cmp.Equal(got.Shape, want.Shape) || !bytes.Equal(contents(got), want.Data) {
					t.Errorf("%s differs", n)
				}
			}
			if err := c.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTorchNotes(t *testing.T) {
	for name, want := range map[string][]string{
		"zip.bin":     nil,
		"nested.pt":   {`the tensors are those under "model"`, `the prefix "module." of every name is removed`},
		"strided.pt":  nil,
		"deflated.pt": {"10 storages are deflated and take 49440 bytes of memory"},
	} {
		path := filepath.Join(torchFiles, name)
		for i := range want {
			want[i] = path + ": " + want[i]
		}
		if diff := cmp.Diff(want, open(t, path).Notes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTorchViews(t *testing.T) {
	c := open(t, filepath.Join(torchFiles, "odd.pt"))
	f32 := func(x ...float32) (b []byte) {
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b
	}
	all := f32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
	for _, w := range []struct {
		name  string
		dtype DType
		shape []int
		data  []byte
	}{
		{"tied", F32, []int{3, 4}, all},
		{"tied2", F32, []int{3, 4}, all},
		{"expanded", F32, []int{3, 4}, f32(4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7)},
		{"overlapping", F32, []int{3, 4}, f32(0, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 7)},
		{"scalar", F32, nil, f32(2.5)},
		{"empty", F32, []int{0, 3}, []byte{}},
		{"u8", U8, []int{3, 4}, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"flags", Bool, []int{3, 4}, []byte{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1}},
		{"u16", U16, []int{3, 4}, []byte{0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0}},
	} {
		got := c.Tensors[w.name]
		if got.DType != w.dtype || !cmp.Equal(got.Shape, w.shape) || !bytes.Equal(contents(got), w.data) {
			t.Errorf("%s: got %s %v %v", w.name, got.DType, got.Shape, contents(got))
		}
	}
	for name, want := range map[string]DType{"double": F64, "i64": I64, "i16": I16, "e4m3": "F8_E4M3", "bf16": BF16} {
		if got := c.Tensors[name]; got.DType != want || uint64(len(got.Data)) != 12*bits[want]/8 {
			t.Errorf("%s is %s, want %s", name, got.DType, want)
		}
	}
	if &c.Tensors["tied"].Data[0] != &c.Tensors["tied2"].Data[0] {
		t.Error("tied tensors do not share their bytes")
	}
}

// Open accepts a flipped bit in a stored tensor, and Verify finds it. Open rejects a
// flipped bit in a deflated one.
func TestTorchChecksums(t *testing.T) {
	for name, opens := range map[string]bool{"shared.pt": true, "deflated.pt": false} {
		b := read(t, name)
		b[len(b)/2] ^= 1
		c, err := Open(write(t, b))
		if (err == nil) != opens {
			t.Fatalf("%s: %v", name, err)
		}
		if opens {
			err = c.Verify(t.Context())
			c.Close()
			if err == nil || !strings.Contains(err.Error(), "CRC-32") {
				t.Errorf("%s: Verify returns %v, want a CRC-32 error", name, err)
			}
		}
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(torchFiles, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// legacy returns a legacy file with the given pickle of the saved object, followed by
// rest.
func legacy(pickle, rest string) []byte {
	return []byte(legacyMagic + "\x80\x02M\xe9\x03." + "\x80\x02}X\x0d\x00\x00\x00little_endian\x88s." + "\x80\x02" + pickle + rest)
}

// archived returns a zip file with the given pickle and one storage "0" of data.
func archived(t testing.TB, pickle, data string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range [][2]string{{"x/data.pkl", "\x80\x02" + pickle}, {"x/data/0", data}} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: e[0], Method: zip.Store})
		if err == nil {
			_, err = w.Write([]byte(e[1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const (
	stored  = "(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ" // 4 floats
	rebuild = "ctorch._utils\n_rebuild_tensor_v2\n("
	keys    = "\x80\x02]X\x01\x00\x00\x000a."
	floats4 = "\x04\x00\x00\x00\x00\x00\x00\x00" + "0123456789abcdef"
)

// state returns a pickle of {"a": tensor}. layout is the offset, shape and strides of the
// tensor.
func state(storage, layout string) string {
	return "}X\x01\x00\x00\x00a" + rebuild + storage + layout + "\x89}tRs."
}

var good = state(stored, "K\x00K\x02K\x02\x86K\x02K\x01\x86")

func TestTorchRefuses(t *testing.T) {
	for path, b := range map[string][]byte{"legacy": legacy(good, keys+floats4), "zip": archived(t, good, floats4[8:])} {
		if c := open(t, write(t, b)); string(c.Tensors["a"].Data) != floats4[8:] {
			t.Fatalf("%s: the valid file gives %v", path, c.Tensors["a"])
		}
	}
	if c := open(t, write(t, archived(t, strings.Replace(good, "\x89}tR", "\x89}}X\x03\x00\x00\x00neg\x89stR", 1), floats4[8:]))); string(c.Tensors["a"].Data) != floats4[8:] {
		t.Errorf("a tensor that is not negated gives %v", c.Tensors["a"])
	}
	for _, c := range []struct{ name, pickle, want string }{
		{"negated", strings.Replace(good, "\x89}tR", "\x89}}X\x03\x00\x00\x00neg\x88stR", 1), `a tensor whose values are those of its storage with "neg" applied; save it after .resolve_neg().resolve_conj()`},
		{"os.system", "cos\nsystem\nX\x02\x00\x00\x00id\x85R.", `the Python object "system" of module "os" is not supported`},
		{"global never called", "cposix\nsystem\n0}.", `the Python object "system" of module "posix" is not supported`},
		{"dot elsewhere", "ctorch\n_utils._rebuild_tensor_v2\n.", `the Python object "_utils._rebuild_tensor_v2" of module "torch" is not supported`},
		{"long name", "c" + strings.Repeat("a", 300) + "\n", "name of more than 256 bytes"},
		{"endless name", "ctorch", "the name has no end: it is truncated; copy or download it again"},
		{"opcode 0xff", "\xff.", "opcode 0xff is not supported"},
		{"INST", "(ios\nsystem\n.", "opcode 0x69 is not supported"},
		{"OBJ", "(o.", "opcode 0x6f is not supported"},
		{"EXT1", "\x82\x01.", "opcode 0x82 is not supported"},
		{"PERSID", "P0\n.", "opcode 0x50 is not supported"},
		{"NEWOBJ", "ccollections\nOrderedDict\n)\x81.", "opcode 0x81 is not supported"},
		{"protocol 4", "\x80\x04.", "protocol 4 (want 2) is not supported"},
		{"call of a class", "ctorch.nn.parameter\nParameter\n)R.", "calling torch.nn.parameter.Parameter is not supported"},
		{"call of a string", "X\x01\x00\x00\x00a)R.", "calls a string with a tuple"},
		{"state of a list", "]}b.", "setting the state of a list to a dict is not supported"},
		{"item of a list", "]K\x01K\x02s.", "sets 2 keys and values in a list"},
		{"append to a dict", "}K\x01a.", "appends to a dict"},
		{"odd items", "}(K\x01u.", "sets 1 keys and values in a dict"},
		{"tuple for a key", "})K\x01s.", "a tuple as a key is not supported"},
		{"empty stack", "a.", "the stack has 0 values, want 1"},
		{"below a mark", "](K\x01\x86.", "the stack has 1 values, want 2"},
		{"no mark", "t.", "no mark"},
		{"memo", "h\x07.", "reads memo 7, which was not written"},
		{"string of 4 GB", "X\xff\xff\xff\xff", "needs 4294967295 bytes, 0 are left: it is truncated; copy or download it again"},
		{"long integer", "\x8a\x09123456789.", "integer of 9 bytes, want at most 8"},
		{"a string", "X\x01\x00\x00\x00a.", "a string is not supported, want a dict of tensors; save model.state_dict()"},
		{"nothing", "}.", "has no tensors and no dict named model, state_dict, model_state_dict or module"},
		{"cyclic", "}q\x00X\x05\x00\x00\x00modelh\x00s.", "4 nested dicts without a tensor"},
		{"storage of a list", "]Q.", "persistent id is a list, want a tuple that identifies a storage"},
		{"tensor of None", state("N", "K\x00))"), "a tensor of None, want a storage"},
		{"offset", state(stored, "K\x01K\x02K\x02\x86K\x02K\x01\x86"), "shape [2 2] with strides [2 1] at offset 1 exceeds its storage of 4 elements"},
		{"stride", state(stored, "K\x00K\x02K\x02\x86K\x03K\x01\x86"), "shape [2 2] with strides [3 1] at offset 0 exceeds its storage of 4 elements"},
		{"huge stride", state(stored, "K\x00K\x02K\x03\x86\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x86"), "exceeds its storage of 4 elements"},
		{"negative stride", state(stored, "K\x03K\x04\x85J\xff\xff\xff\xff\x85"), "dimension 0 of a tensor is 4 with stride -1"},
		{"negative offset", state(stored, "J\xff\xff\xff\xffK\x01\x85K\x01\x85"), "a tensor at offset -1"},
		{"huge shape", state(stored, "K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86K\x00K\x00\x86"), "is not a number of bytes below 2^63"},
		{"strides missing", state(stored, "K\x00K\x02K\x02\x86)"), "a tensor of 2 dimensions and 0 strides, want equal numbers up to 8"},
	} {
		rest := "\x80\x02]."
		switch {
		case strings.Contains(c.want, "it is truncated"):
			rest = "" // so that the file ends inside the pickle
		case strings.Contains(c.pickle, "FloatStorage"):
			rest = keys + floats4
		}
		for kind, b := range map[string][]byte{"zip": archived(t, c.pickle, floats4[8:]), "legacy": legacy(c.pickle, rest)} {
			k, err := Open(write(t, b))
			if err == nil {
				k.Close()
				t.Errorf("%s, %s: Open accepts it", kind, c.name)
				continue
			}
			if got := err.Error(); !strings.Contains(got, c.want) || strings.Contains(got, "\n") {
				t.Errorf("%s, %s:\ngot  %s\nwant %s", kind, c.name, got, c.want)
			}
			var corrupt *defect.CorruptError
			if errors.As(err, &corrupt) == errors.Is(err, defect.ErrUnsupported) {
				t.Errorf("%s, %s: %v, want either a CorruptError or ErrUnsupported", kind, c.name, err)
			}
		}
	}
}

func TestTorchLegacyStorages(t *testing.T) {
	for name, c := range map[string]struct{ rest, want string }{
		"no key":        {"\x80\x02].", "storage 0: is used but not in the list of keys"},
		"key twice":     {"\x80\x02]X\x01\x00\x00\x000aX\x01\x00\x00\x000a." + floats4 + floats4, `keys: "0" is not a storage or is listed twice`},
		"unknown key":   {"\x80\x02]X\x01\x00\x00\x001a." + floats4, `keys: "1" is not a storage or is listed twice`},
		"no list":       {"\x80\x02}.", "keys: is a dict, want a list"},
		"other count":   {keys + "\x05" + floats4[1:] + "0123", "has 5 elements, want 4"},
		"huge count":    {keys + "\xff\xff\xff\xff\xff\xff\xff\xff" + floats4[8:], "has 18446744073709551615 elements, want 4"},
		"more than all": {keys + floats4 + "x", "1 bytes follow the last storage"},
	} {
		k, err := Open(write(t, legacy(good, c.rest)))
		if err == nil {
			k.Close()
		}
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestTorchZipStorages(t *testing.T) {
	for _, c := range []struct{ pickle, data, want string }{
		{good, floats4[8:] + "0123", "x/data/0: 20 bytes, the pickle requires 16"},
		{good, floats4[9:], "x/data/0: 15 bytes, the pickle requires 16"},
		{strings.Replace(good, "\x000X", "\x001X", 1), floats4[8:], "storage 1: is used but not in the file"},
		{strings.Replace(good, "\x000X", "\x00/X", 1), floats4[8:], "storage /: is used but not in the file"},
	} {
		k, err := Open(write(t, archived(t, c.pickle, c.data)))
		if err == nil {
			k.Close()
		}
		if err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestTorchPreference(t *testing.T) {
	dir := tree(t, map[string]string{singleName: shard("a"), torchName: "junk"})
	want := []string{"model.safetensors is used and pytorch_model.bin is ignored, as in transformers"}
	if diff := cmp.Diff(want, open(t, dir).Notes); diff != "" {
		t.Error(diff)
	}
}

func TestTorchTruncation(t *testing.T) {
	for name, whole := range map[string][]byte{"legacy": legacy(good, keys+floats4), "zip": archived(t, good, floats4[8:]), "odd.pt": read(t, "odd.pt")} {
		path := filepath.Join(t.TempDir(), "x")
		for n := 0; n < len(whole); n += 1 + len(whole)/1000 { // every length of the small files
			if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			if c, err := Open(path); err == nil {
				c.Close()
				t.Fatalf("%s: Open accepts the first %d of %d bytes", name, n, len(whole))
			}
		}
	}
}

// No file makes the readers panic, and each tensor has as many bytes as its shape
// requires.
func FuzzTorch(f *testing.F) {
	f.Add(legacy(good, keys+floats4))
	f.Add(archived(f, good, floats4[8:]))
	for _, name := range []string{"odd.pt", "module.pt"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, reader := range []func(*Checkpoint, string, []byte) error{readTorchZip, readTorchLegacy} {
			c := &Checkpoint{Tensors: map[string]*Tensor{}}
			if reader(c, "f", b) != nil {
				continue
			}
			_ = c.Verify(t.Context())
			for _, x := range c.Tensors {
				e := entry{dtype: x.DType, shape: x.Shape}
				n, ok := e.bytes()
				if !ok || x.Source == nil && n != uint64(len(x.Data)) {
					t.Fatalf("%s: %d bytes for %s %v", x.Name, len(x.Data), x.DType, x.Shape)
				}
				if x.Source != nil && x.RowBytes() < 1<<20 {
					row := make([]byte, x.RowBytes())
					x.Row(row, 0)
					x.Row(row, x.Rows()-1)
				}
			}
		}
	})
}
