package checkpoint

import (
	"github.com/nlpodyssey/safetensors"

	"thimble/internal/defect"
)

// readSafetensors adds the tensors of a safetensors file to c. The library
// comes second: it takes the last of duplicate keys, invalid UTF-8, a null
// header and anything that follows the header's object.
func readSafetensors(c *Checkpoint, file string, b []byte) error {
	h, err := readHeader(file, b)
	if err != nil {
		return err
	}
	data, err := views(file, b, h)
	if err != nil {
		return err
	}
	if c.Metadata == nil {
		c.Metadata = h.metadata
	}
	for i := range h.entries {
		e := &h.entries[i]
		if other := c.Tensors[e.name]; other != nil {
			return defect.Corrupt(file, e.name, "tensor is stored in %s too", defect.Printable(other.File))
		}
		d := data(e)
		c.Tensors[e.name] = &Tensor{Name: e.name, File: file, DType: e.dtype, Shape: e.shape, Data: d[:len(d):len(d)]}
	}
	return nil
}

// maxDecode is the longest header the library is given: it decodes JSON into
// maps, which takes some forty times the size of the text.
const maxDecode = 1 << 20

// views returns a function from a header's entry to its bytes. The library
// rejects a whole file for one type it does not know; we slice such files
// ourselves, so that a tensor nobody asks for hurts nobody.
func views(file string, b []byte, h *header) (func(*entry) []byte, error) {
	slice := func(e *entry) []byte { return b[h.data:][e.begin:e.end] }
	if h.data > maxDecode {
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
