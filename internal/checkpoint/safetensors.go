package checkpoint

import (
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/safetensors"

	"thimble/internal/defect"
)

// readSafetensors adds the tensors of a safetensors file to c. It checks the header
// before it calls the library, which accepts duplicate keys (the last one counts),
// invalid UTF-8, a null header, and any data after the header's object.
func readSafetensors(c *Checkpoint, file string, b []byte) error {
	h, err := readHeader(file, b)
	if err != nil {
		return err
	}
	data, err := tensorData(file, b, h)
	if err != nil {
		return err
	}
	if c.Metadata == nil {
		c.Metadata = h.metadata
	}
	for i := range h.entries {
		e := &h.entries[i]
		d := data(e)
		t := &Tensor{Name: e.name, File: file, DType: e.dtype, Shape: e.shape, Data: d[:len(d):len(d)]}
		switch other := c.Tensors[e.name]; {
		case other == nil:
			c.Tensors[e.name] = t
		case t.DType == other.DType && slices.Equal(t.Shape, other.Shape) && Same(t, other):
			c.twice = append(c.twice, e.name)
		case c.assigned[e.name] == filepath.Base(other.File):
			c.stale = append(c.stale, e.name)
		case c.assigned[e.name] == filepath.Base(file):
			c.stale, c.Tensors[e.name] = append(c.stale, e.name), t
		default:
			return defect.Corrupt(file, e.name, "tensor is also stored in %s, with other contents, and no index assigns it to one of them; remove the file that does not belong to the checkpoint", defect.Printable(other.File))
		}
	}
	return nil
}

// maxDecode is the longest header that the library gets, in bytes. It decodes JSON into
// maps, which take some forty times the size of the text.
const maxDecode = 1 << 20

// tensorData returns a function that returns the bytes of a header's entry. The library
// rejects a file that has a single tensor of a type it does not know. For such a file
// the function does not use the library, because the model may not need that tensor.
func tensorData(file string, b []byte, h *header) (func(*entry) []byte, error) {
	slice := func(e *entry) []byte { return b[h.data:][e.begin:e.end] }
	if h.data > maxDecode || h.nullMetadata { // the library takes no null
		return slice, nil
	}
	for i := range h.entries {
		if _, err := safetensors.ParseDType(string(h.entries[i].dtype)); err != nil {
			return slice, nil
		}
	}
	st, err := safetensors.Deserialize(b)
	if err != nil {
		return nil, defect.Corrupt(file, "", "%s", defect.Printable(err.Error()))
	}
	return func(e *entry) []byte {
		v, _ := st.Tensor(e.name)
		return v.Data()
	}, nil
}
