package checkpoint

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	mathbits "math/bits"
	"slices"
	"strings"
	"unicode"

	"thimble/internal/defect"
	"thimble/internal/strictjson"
)

// A safetensors file is
//
//	u64       n, little-endian, at most maxHeader
//	n bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...},
//	          optionally with "__metadata__": {"key": "text", ...}; padded with spaces
//	data      the tensors, without gaps or overlaps; offsets count from here
//
// https://github.com/huggingface/safetensors#format
const (
	lengthLen   = 8
	maxHeader   = 100_000_000
	maxTensors  = 1 << 16
	maxMetadata = 1 << 16 // entries
	maxName     = 1024    // bytes
	maxDims     = 8

	metadataKey = "__metadata__"
)

// A header is the checked header of a safetensors file.
type header struct {
	entries  []entry // in the order of their data
	metadata map[string]string
	data     int // offset of the data in the file

	nullMetadata bool
}

type entry struct {
	name       string
	dtype      DType
	shape      []int
	begin, end uint64 // from the start of the data
}

func isSafetensors(b []byte) bool {
	return len(b) > lengthLen && binary.LittleEndian.Uint64(b) <= maxHeader && b[lengthLen] == '{'
}

// readHeader reads and checks the header of file, whose contents are b. It reads no byte
// after the header.
func readHeader(file string, b []byte) (*header, error) {
	bad := func(off int, field, why string, args ...any) error {
		return &defect.CorruptError{File: file, Off: int64(off), Field: field, Why: fmt.Sprintf(why, args...)}
	}
	if len(b) < lengthLen {
		return nil, bad(0, "header length", "the file has %d bytes, want at least %d: it is truncated; copy or download it again", len(b), lengthLen)
	}
	n := binary.LittleEndian.Uint64(b)
	if b[0] == 0x80 && b[1] >= 2 && b[1] <= 5 && n > maxHeader {
		return nil, bad(0, "pickle", "protocol %d, which torch.save does not write: load the file in Python and save its tensors with torch.save or safetensors", b[1])
	}
	switch left := uint64(len(b) - lengthLen); {
	case n > maxHeader:
		return nil, bad(0, "header length", "%d, want at most %d: not a safetensors file", n, maxHeader)
	case n > left:
		return nil, bad(0, "header length", "%d, the file has %d bytes left: it is truncated; copy or download it again", n, left)
	case n == 0 || b[lengthLen] != '{':
		return nil, bad(lengthLen, "header", "does not start with '{': not a safetensors file")
	}
	h := &header{data: lengthLen + int(n)}
	if err := h.decode(strictjson.NewDecoder(file, lengthLen, b[lengthLen:h.data])); err != nil {
		return nil, err
	}
	return h, h.checkTiling(file, uint64(len(b)-h.data))
}

func (h *header) decode(d *strictjson.Decoder) error {
	err := d.Object(func(name string) error {
		if name == metadataKey && d.Kind() == 'n' { // null, as the library of Rust allows
			h.nullMetadata = true
			return d.Skip()
		}
		if name == metadataKey {
			h.metadata = map[string]string{}
			return d.Object(func(key string) (err error) {
				if len(h.metadata) == maxMetadata {
					return d.Fail("more than %d entries", maxMetadata)
				}
				h.metadata[key], err = d.String()
				return err
			})
		}
		switch {
		case len(h.entries) == maxTensors:
			return d.Fail("more than %d tensors", maxTensors)
		case name == "" || len(name) > maxName:
			return d.Fail("name of %d bytes, want 1 to %d", len(name), maxName)
		case strings.ContainsFunc(name, unicode.IsControl):
			return d.Fail("control character in the name")
		}
		e := entry{name: name}
		err := e.decode(d)
		h.entries = append(h.entries, e)
		return err
	})
	if err != nil {
		return err
	}
	return d.End()
}

func (e *entry) decode(d *strictjson.Decoder) error {
	var offsets []uint64
	seen := 0
	err := d.Object(func(key string) (err error) {
		seen++
		switch key {
		case "dtype":
			var s string
			if s, err = d.String(); err != nil {
				return err
			}
			if e.dtype = DType(s); bits[e.dtype] == 0 {
				return d.Fail("%.64q is not a safetensors type", s)
			}
			return nil
		case "shape":
			e.shape, err = readShape(d)
			return err
		case "data_offsets":
			offsets, err = readOffsets(d)
			return err
		}
		return d.Fail("unknown key, want dtype, shape and data_offsets")
	})
	switch {
	case err != nil:
		return err
	case seen != 3:
		return d.Fail("has %d keys, want dtype, shape and data_offsets", seen)
	case len(offsets) != 2:
		return d.Fail("has %d data_offsets, want 2", len(offsets))
	}
	e.begin, e.end = offsets[0], offsets[1]
	n, ok := e.bytes()
	switch {
	case !ok:
		return d.Fail("shape %v of %s is not a whole number of bytes below 2^64", e.shape, e.dtype)
	case e.begin > e.end || e.end-e.begin != n:
		return d.Fail("data_offsets are [%d, %d], shape %v of %s takes %d bytes", e.begin, e.end, e.shape, e.dtype, n)
	}
	return nil
}

func readShape(d *strictjson.Decoder) (shape []int, err error) {
	err = d.Array(func(i int) error {
		n, err := d.Uint()
		switch {
		case err != nil:
			return err
		case i == maxDims:
			return d.Fail("more than %d dimensions", maxDims)
		case n > math.MaxInt:
			return d.Fail("dimension %d is out of range", n)
		}
		shape = append(shape, int(n))
		return nil
	})
	return shape, err
}

func readOffsets(d *strictjson.Decoder) (offsets []uint64, err error) {
	err = d.Array(func(i int) error {
		n, err := d.Uint()
		if err == nil && i == 2 {
			return d.Fail("more than 2 offsets")
		}
		offsets = append(offsets, n)
		return err
	})
	return offsets, err
}

// bytes returns the size of the tensor. The product of the nonzero dimensions must fit
// even if another dimension is zero, because readers multiply in different orders.
func (e *entry) bytes() (n uint64, ok bool) {
	n, empty := bits[e.dtype], false
	for _, dim := range e.shape {
		if dim == 0 {
			empty = true
			continue
		}
		hi, lo := mathbits.Mul64(n, uint64(dim))
		if hi != 0 {
			return 0, false
		}
		n = lo
	}
	if empty {
		return 0, true
	}
	return n / 8, n%8 == 0
}

// checkTiling sorts the entries by offset and checks that they cover all size bytes of
// data without gaps or overlaps.
func (h *header) checkTiling(file string, size uint64) error {
	slices.SortFunc(h.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	end := uint64(0)
	for i := range h.entries {
		switch e := &h.entries[i]; {
		case e.begin < end:
			return defect.Corrupt(file, e.name, "data begins at %d, inside %.128q, which ends at %d", e.begin, h.entries[i-1].name, end)
		case e.begin > end:
			return defect.Corrupt(file, e.name, "data begins at %d, no tensor has the %d bytes before it", e.begin, e.begin-end)
		case e.end > size:
			return defect.Corrupt(file, e.name, "data ends at %d, the file has %d bytes of data: it is truncated; copy or download it again", e.end, size)
		default:
			end = e.end
		}
	}
	if end != size {
		return defect.Corrupt(file, "", "%d bytes follow the last tensor", size-end)
	}
	return nil
}
