package checkpoint

import (
	"fmt"
	"math"
	mathbits "math/bits"
	"slices"
	"strings"
	"unicode"

	"thimble/internal/defect"
)

// globals lists the names that a pickle by torch.save may use. The value is a builder for
// a function, and the DType of the elements for a storage class or a type.
// https://github.com/pytorch/pytorch/blob/main/torch/_utils.py
var globals = map[global]any{
	{"collections", "OrderedDict"}: buildDict,

	{"torch._utils", "_rebuild_tensor_v2"}:     buildTensor,
	{"torch._utils", "_rebuild_tensor_v3"}:     buildTensor,
	{"torch._utils", "_rebuild_parameter"}:     buildParameter,
	{"torch._tensor", "_rebuild_from_type_v2"}: buildFromType,
	{"torch", "Size"}:                          buildSize,
	{"torch", "Tensor"}:                        nil,
	{"torch.nn.parameter", "Parameter"}:        nil,

	{"torch", "DoubleStorage"}:          F64,
	{"torch", "FloatStorage"}:           F32,
	{"torch", "HalfStorage"}:            F16,
	{"torch", "BFloat16Storage"}:        BF16,
	{"torch", "LongStorage"}:            I64,
	{"torch", "IntStorage"}:             I32,
	{"torch", "ShortStorage"}:           I16,
	{"torch", "CharStorage"}:            I8,
	{"torch", "ByteStorage"}:            U8,
	{"torch", "BoolStorage"}:            Bool,
	{"torch", "ComplexFloatStorage"}:    DType("C64"),
	{"torch.storage", "UntypedStorage"}: U8,

	{"torch", "float64"}:         F64,
	{"torch", "float32"}:         F32,
	{"torch", "float16"}:         F16,
	{"torch", "bfloat16"}:        BF16,
	{"torch", "int64"}:           I64,
	{"torch", "int32"}:           I32,
	{"torch", "int16"}:           I16,
	{"torch", "int8"}:            I8,
	{"torch", "uint64"}:          U64,
	{"torch", "uint32"}:          U32,
	{"torch", "uint16"}:          U16,
	{"torch", "uint8"}:           U8,
	{"torch", "bool"}:            Bool,
	{"torch", "complex64"}:       DType("C64"),
	{"torch", "float8_e4m3fn"}:   F8E4M3,
	{"torch", "float8_e5m2"}:     F8E5M2,
	{"torch", "float8_e8m0fnu"}:  DType("F8_E8M0"),
	{"torch", "float8_e4m3fnuz"}: DType("F8_E4M3FNUZ"),
	{"torch", "float8_e5m2fnuz"}: DType("F8_E5M2FNUZ"),
}

// A builder is a function that the opcode REDUCE may call.
type builder int

const (
	buildDict builder = iota
	buildTensor
	buildParameter
	buildFromType
	buildSize
)

// A storage is the memory of one or more tensors.
type storage struct {
	key   string
	dtype DType
	size  uint64 // bytes
	data  []byte // set by locate
}

// A view is a tensor as torch stores it. Its strides and offset count elements.
type view struct {
	storage *storage
	dtype   DType
	offset  uint64
	shape   []int
	strides []uint64
}

// construct returns the value that calling g with args returns in Python.
func (m *machine) construct(g global, args tuple) (any, error) {
	kind, ok := globals[g].(builder)
	switch {
	case !ok:
		return nil, m.unsupported("calling %s.%s", g.module, g.name)
	case kind == buildDict && len(args) == 0:
		return newDict(), nil
	case kind == buildSize && len(args) == 1:
		if size, ok := args[0].(tuple); ok {
			return size, nil
		}
	case kind == buildTensor && len(args) >= 6:
		return m.view(g, args)
	case kind == buildParameter && len(args) == 3:
		if v, ok := args[0].(*view); ok {
			return v, nil
		}
	case kind == buildFromType && len(args) == 4:
		// function, class, its arguments, attributes
		f, ok := args[0].(global)
		inner, ok2 := args[2].(tuple)
		if globals[f] == buildTensor && ok && ok2 {
			return m.view(f, inner)
		}
	}
	return nil, m.corrupt("%s called with %d arguments, or with types that it does not take", g.name, len(args))
}

// view returns the tensor of the arguments (storage, offset, shape, strides,
// requires_grad, hooks), to which version 3 adds the type. The bits that torch sets lazily follow.
func (m *machine) view(g global, args tuple) (*view, error) {
	v := &view{}
	typed := g.name == "_rebuild_tensor_v3"
	if len(args) < 6 || typed && len(args) < 7 {
		return nil, m.corrupt("%s with %d arguments", g.name, len(args))
	}
	var ok bool
	if v.storage, ok = args[0].(*storage); !ok {
		return nil, m.corrupt("a tensor of %s, want a storage", kindOf(args[0]))
	}
	v.dtype = v.storage.dtype
	if typed {
		name, _ := args[6].(global)
		if v.dtype, ok = globals[name].(DType); !ok || strings.HasSuffix(name.name, "Storage") {
			return nil, m.corrupt("a tensor whose type is %s", kindOf(args[6]))
		}
	}
	lazy := args[6:]
	if typed {
		lazy = args[7:]
	}
	if err := m.checkLazy(lazy); err != nil {
		return nil, err
	}
	offset, ok := args[1].(int64)
	shape, ok2 := args[2].(tuple)
	strides, ok3 := args[3].(tuple)
	switch {
	case !ok || !ok2 || !ok3:
		return nil, m.corrupt("a tensor with %s as offset, %s as shape and %s as strides", kindOf(args[1]), kindOf(args[2]), kindOf(args[3]))
	case len(shape) != len(strides) || len(shape) > maxDims:
		return nil, m.corrupt("a tensor of %d dimensions and %d strides, want equal numbers up to %d", len(shape), len(strides), maxDims)
	case offset < 0:
		return nil, m.corrupt("a tensor at offset %d", offset)
	}
	v.offset = uint64(offset)
	for i := range shape {
		n, ok := shape[i].(int64)
		stride, ok2 := strides[i].(int64)
		if !ok || !ok2 || n < 0 || stride < 0 || n > math.MaxInt {
			return nil, m.corrupt("dimension %d of a tensor is %v with stride %v", i, shape[i], strides[i])
		}
		v.shape, v.strides = append(v.shape, int(n)), append(v.strides, uint64(stride))
	}
	if err := v.check(); err != nil {
		return nil, m.corrupt("%v", err)
	}
	return v, nil
}

// checkLazy returns an error if a tensor's last argument, which may be absent or empty, says that
// its elements are not those of the storage, as {"neg": True} does.
func (m *machine) checkLazy(args tuple) error {
	if len(args) == 0 || args[0] == nil {
		return nil
	}
	d, ok := args[0].(*dict)
	if !ok {
		return m.corrupt("a tensor with %s as its last argument, want a dict", kindOf(args[0]))
	}
	for _, key := range d.keys {
		if d.values[key] != false {
			return m.corrupt("a tensor whose values are those of its storage with %q applied; save it after .resolve_neg().resolve_conj()", defect.Printable(fmt.Sprint(key)))
		}
	}
	return nil
}

// check returns an error unless every element is inside the storage.
func (v *view) check() error {
	size := bits[v.dtype] / 8
	elements := v.storage.size / size
	bytes, ok := v.bytes()
	if !ok {
		return fmt.Errorf("shape %v of %s is not a number of bytes below 2^63", v.shape, v.dtype)
	}
	last, fits := v.offset, v.offset <= elements
	for i, n := range v.shape {
		if bytes == 0 || !fits {
			break
		}
		hi, step := mathbits.Mul64(uint64(n-1), v.strides[i])
		if hi != 0 || step >= elements {
			fits = false
			break
		}
		last += step // no overflow: both are below 2^63
		fits = fits && last < elements
	}
	if !fits || bytes != 0 && last >= elements {
		return fmt.Errorf("shape %v with strides %v at offset %d exceeds its storage of %d elements", v.shape, v.strides, v.offset, elements)
	}
	return nil
}

func (v *view) bytes() (uint64, bool) {
	e := entry{dtype: v.dtype, shape: v.shape}
	n, ok := e.bytes()
	return n, ok && n <= math.MaxInt
}

// contiguous reports whether the elements are in row-major order without gaps.
func (v *view) contiguous() bool {
	if slices.Contains(v.shape, 0) {
		return true
	}
	want := uint64(1)
	for i := len(v.shape) - 1; i >= 0; i-- {
		if v.shape[i] != 1 && v.strides[i] != want {
			return false
		}
		want *= uint64(v.shape[i])
	}
	return true
}

// tensor returns v as a Tensor. If v is contiguous, its Data aliases the storage;
// otherwise v is its Source and gathers each row on request.
func (v *view) tensor(name, file string) *Tensor {
	t := &Tensor{Name: name, File: file, DType: v.dtype, Shape: v.shape, Data: []byte{}}
	n, _ := v.bytes()
	switch {
	case n == 0:
	case v.contiguous():
		b := v.storage.data[v.offset*(bits[v.dtype]/8):][:n]
		t.Data = b[:n:n]
	default:
		t.Data, t.Source = nil, v
	}
	return t
}

// A torchFile collects the storages that a pickle names.
type torchFile struct {
	name     string
	storages map[string]*storage
	order    []*storage
}

// storage returns the storage for the persistent id ("storage", class, key, device,
// elements). Before 1.6 torch adds a sixth element for a part of another storage, which
// has been None since 2017.
func (f *torchFile) storage(id tuple) (*storage, error) {
	bad := func(format string, args ...any) error { return defect.Corrupt(f.name, "storage", format, args...) }
	if len(id) == 6 && id[5] == nil {
		id = id[:5]
	}
	if len(id) != 5 || id[0] != "storage" {
		return nil, bad("persistent id has %d parts, want \"storage\", class, key, device and size", len(id))
	}
	class, _ := id[1].(global)
	dtype, ok := globals[class].(DType)
	key, ok2 := id[2].(string)
	n, ok3 := id[4].(int64)
	switch {
	case !ok || !strings.HasSuffix(class.name, "Storage"):
		return nil, bad("class is %s", kindOf(id[1]))
	case !ok2 || !ok3:
		return nil, bad("key is %s and size %s", kindOf(id[2]), kindOf(id[4]))
	}
	hi, size := mathbits.Mul64(uint64(n), bits[dtype]/8)
	if n < 0 || hi != 0 || size > math.MaxInt {
		return nil, bad("%.128q has %d elements", key, n)
	}
	s := f.storages[key]
	if s == nil {
		s = &storage{key: key, dtype: dtype, size: size}
		f.storages[key] = s
		f.order = append(f.order, s)
	}
	if s.dtype != dtype || s.size != size {
		return nil, bad("%.128q has both %d bytes of %s and %d bytes of %s", key, s.size, s.dtype, size, dtype)
	}
	return s, nil
}

// addTensors adds the tensors of a state dict to c. Their storages must have data.
func (c *Checkpoint) addTensors(file string, root any) error {
	d, where, err := stateDict(file, root)
	if err != nil {
		return err
	}
	if where != "" {
		c.Notes = append(c.Notes, fmt.Sprintf("%s: the tensors are those under %q", defect.Printable(file), where))
	}
	prefix := modulePrefix(d)
	if prefix != "" {
		c.Notes = append(c.Notes, fmt.Sprintf("%s: the prefix %q of every name is removed", defect.Printable(file), prefix))
	}
	others := []string(nil)
	for _, key := range d.keys {
		name, isName := key.(string)
		v, isTensor := d.values[key].(*view)
		if !isName || !isTensor {
			others = append(others, fmt.Sprint(key))
			continue
		}
		name = strings.TrimPrefix(name, prefix)
		switch other := c.Tensors[name]; {
		case name == "" || len(name) > maxName:
			return defect.Corrupt(file, name, "name of %d bytes, want 1 to %d", len(name), maxName)
		case strings.ContainsFunc(name, unicode.IsControl):
			return defect.Corrupt(file, name, "control character in the name")
		case other != nil:
			return defect.Corrupt(file, name, "tensor is also stored in %s", defect.Printable(other.File))
		case len(c.Tensors) == maxTensors:
			return defect.Corrupt(file, name, "more than %d tensors", maxTensors)
		}
		c.Tensors[name] = v.tensor(name, file)
	}
	if len(others) > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%s: %d entries that are not tensors are ignored, such as %s", defect.Printable(file), len(others), defect.Printable(others[0])))
	}
	return nil
}

// stateDict returns the dict of the model's tensors and its path in root. It descends
// into a dict with a usual name before it looks for tensors, because the outer dict of a
// training checkpoint may hold other tensors, and no tensor of a model has such a name.
func stateDict(file string, root any) (d *dict, where string, err error) {
	const depth = 4
descend:
	for range depth {
		d, ok := root.(*dict)
		if !ok {
			return nil, "", fmt.Errorf("%s: %w, want a dict of tensors; save model.state_dict()", defect.Printable(file), defect.Unsupported("pickle", "%s", kindOf(root)))
		}
		for _, name := range []string{"model", "state_dict", "model_state_dict", "module"} {
			if inner, ok := d.values[name].(*dict); ok {
				root, where = inner, strings.TrimPrefix(where+"."+name, ".")
				continue descend
			}
		}
		for _, v := range d.values {
			if _, ok := v.(*view); ok {
				return d, where, nil
			}
		}
		return nil, "", defect.Corrupt(file, where, "has no tensors and no dict named model, state_dict, model_state_dict or module")
	}
	return nil, "", defect.Corrupt(file, where, "%d nested dicts without a tensor", depth)
}

// modulePrefix returns "module." if every tensor's name has this prefix, which
// DataParallel adds, and otherwise "".
func modulePrefix(d *dict) string {
	const prefix = "module."
	if slices.ContainsFunc(d.keys, func(key any) bool {
		name, _ := key.(string)
		_, tensor := d.values[key].(*view)
		return tensor && !strings.HasPrefix(name, prefix)
	}) {
		return ""
	}
	return prefix
}
