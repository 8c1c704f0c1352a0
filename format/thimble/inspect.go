package thimble

import (
	"slices"

	"thimble/internal/model"
)

// Info describes the preamble and the header of a container.
type Info struct {
	Path           string           `json:"path"`
	Version        int              `json:"version"`
	Bytes          int64            `json:"bytes"` // of the file
	HeaderBytes    int64            `json:"header_bytes"`
	TokenizerBytes int64            `json:"tokenizer_bytes"`
	DataOffset     int64            `json:"data_offset"`   // of the first tensor
	Header         Digest           `json:"header_sha256"` // identifies the contents: it covers all other digests
	Spec           model.Spec       `json:"spec"`
	Provenance     model.Provenance `json:"provenance"`
	Gates          []Gate           `json:"gates"`
	Tensors        []TensorInfo     `json:"tensors"`
	Preamble       []byte           `json:"-"` // the first bytes of the file, with Header; a signature is of them
}

// TensorInfo describes a stored tensor. Offsets count from the first byte of the file; -1
// marks a plane that the scheme does not have.
type TensorInfo struct {
	Name   string `json:"name"`
	Scheme string `json:"scheme"`
	Rows   int    `json:"rows"`
	Cols   int    `json:"cols"`
	Codes  int64  `json:"codes"`
	Scales int64  `json:"scales"`
	Mins   int64  `json:"mins"`
	Bytes  int64  `json:"bytes"` // of all planes, without gaps, or of the pieces of a coded tensor
	SHA256 Digest `json:"sha256"`
	Coded  bool   `json:"coded,omitempty"`
}

// Inspect reads the preamble and the header of the container at path, with the same
// checks as Open.
func Inspect(path string) (*Info, error) {
	c, err := open(path)
	if err != nil {
		return nil, err
	}
	defer c.file.Close()
	info := &Info{
		Path:           path,
		Version:        int(c.preamble.Version),
		Bytes:          c.size,
		HeaderBytes:    c.layout.header.n,
		TokenizerBytes: c.layout.tokenizer.n,
		DataOffset:     c.data,
		Header:         c.preamble.SHA256,
		Spec:           c.contents.Spec,
		Provenance:     c.contents.Provenance,
		Gates:          c.contents.Gates,
		Preamble:       slices.Clone(c.file.Data[:preambleLen]),
	}
	for i, r := range c.header.Tensors {
		t := TensorInfo{Name: r.Name, Scheme: r.Scheme, Rows: r.Rows, Cols: r.Cols, SHA256: r.SHA256}
		if c.contents.Tensors[i].Coded {
			t.Coded, t.Bytes = true, c.contents.Tensors[i].CodedBytes
		}
		for j, off := range []*int64{&t.Codes, &t.Scales, &t.Mins} {
			*off = -1
			if e := c.planes[i][j]; e.n > 0 {
				*off = e.off
				t.Bytes += e.n
			}
		}
		info.Tensors = append(info.Tensors, t)
	}
	return info, nil
}
