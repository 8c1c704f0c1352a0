package thimble

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// A header is stored as CBOR in the Core Deterministic Encoding of RFC 8949, section
// 4.2.1. This struct is the only list of its fields. Digests have a fixed size, so the
// length of the header is known before the values of the tensors.
type header struct {
	Spec       model.Spec       `cbor:"spec"`
	Provenance model.Provenance `cbor:"provenance"`
	Gates      []Gate           `cbor:"gates"`
	Generation model.Generation `cbor:"generation,omitzero"`
	Tokenizer  blob             `cbor:"tokenizer"`
	Tensors    []record         `cbor:"tensors"`
}

type blob struct {
	Bytes  int64  `cbor:"bytes"`
	SHA256 Digest `cbor:"sha256"` // zero if there are no bytes
}

// A record is one row of the tensor table. Offsets count from the first tensor, so
// that they do not depend on the length of the header.
type record struct {
	Name   string `cbor:"name"`
	Scheme string `cbor:"scheme"`
	Rows   int    `cbor:"rows"`
	Cols   int    `cbor:"cols"`
	Codes  int64  `cbor:"codes"`
	Scales int64  `cbor:"scales,omitempty"`
	Mins   int64  `cbor:"mins,omitempty"`
	SHA256 Digest `cbor:"sha256"`           // of codes, scales and mins, without the gaps
	CRC32C []byte `cbor:"crc32c,omitempty"` // of the same bytes, see newCRC32C; none if the tensor is coded
	Pieces []byte `cbor:"pieces,omitempty"` // of a coded tensor: length (4 bytes) and SHA-256 of each
}

// newCRC32C returns the CRC-32 with the polynomial of Castagnoli (RFC 3720, appendix B.4). Its
// sum is in big endian.
func newCRC32C() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }

var (
	encoding = func() cbor.EncMode {
		o := cbor.CoreDetEncOptions()
		o.NilContainers = cbor.NilContainerAsEmpty // nil and empty slices mean the same
		o.TagsMd = cbor.TagsForbidden
		return must(o.EncMode())
	}()
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   5,       // header, spec, ropes, rope, factors
		MaxArrayElements:  1 << 15, // tensors: 3, and 16 for each of model.MaxBlocks
		MaxMapPairs:       64,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above contradict each other
	}
	return v
}

// decodeHeader accepts exactly the bytes that encoding produces for some header, so each
// header has one form and no field is missing.
func decodeHeader(path string, raw []byte) (*header, error) {
	h := new(header)
	if err := decoding.Unmarshal(raw, h); err != nil {
		return nil, &defect.CorruptError{File: path, Off: preambleLen, Field: "header", Why: defect.Printable(err.Error())}
	}
	again, err := encoding.Marshal(h)
	if err != nil {
		return nil, &defect.CorruptError{File: path, Off: preambleLen, Field: "header", Why: defect.Printable(err.Error())}
	}
	if !bytes.Equal(again, raw) {
		i := 0
		for i < len(again) && i < len(raw) && again[i] == raw[i] {
			i++
		}
		return nil, &defect.CorruptError{File: path, Off: preambleLen + int64(i), Field: "header",
			Why: "is not in deterministic CBOR (RFC 8949, section 4.2.1), or a field is missing"}
	}
	return h, nil
}

// contents returns the contents that the header describes, and checks them.
func (h *header) contents(path string) (*Contents, error) {
	c := &Contents{Spec: h.Spec, Provenance: h.Provenance, Gates: h.Gates, Generation: h.Generation, Tensors: make([]Entry, len(h.Tensors))}
	for i, r := range h.Tensors {
		if n := len(r.Scheme); n > 32 {
			return nil, defect.Corrupt(path, r.Name, "scheme has %d bytes, want one like int4/g32/sym", n)
		}
		s, err := qtensor.ParseScheme(r.Scheme)
		if err != nil {
			return nil, defect.Corrupt(path, r.Name, "%v", err)
		}
		if s.Rate > 0 {
			return nil, defect.Corrupt(path, r.Name, "scheme is %v, but a stored tensor has no rate", s)
		}
		if s.String() != r.Scheme { // a scheme has one spelling
			return nil, defect.Corrupt(path, r.Name, "scheme is spelled %q, want %q", r.Scheme, s)
		}
		c.Tensors[i] = Entry{Name: r.Name, Scheme: s, Rows: r.Rows, Cols: r.Cols, Coded: len(r.Pieces) > 0}
		for _, p := range r.pieces() {
			c.Tensors[i].CodedBytes += p.n
		}
	}
	if err := c.check(path, h.Tokenizer.Bytes); err != nil {
		return nil, err
	}
	if h.Tokenizer.Bytes == 0 && h.Tokenizer.SHA256 != (Digest{}) {
		return nil, defect.Corrupt(path, "tokenizer.sha256", "is %v for no bytes, want zeros", h.Tokenizer.SHA256)
	}
	return c, nil
}

// describe returns the header of c, with zero digests for the tensors, and the layout of
// the file.
func (c *Contents) describe() (*header, layout, error) {
	h := &header{Spec: c.Spec, Provenance: c.Provenance, Gates: c.Gates, Generation: c.Generation, Tensors: make([]record, len(c.Tensors))}
	h.Tokenizer = describeBlob(c.Tokenizer)
	relative, err := arrange(c.Tensors, 0, 0)
	if err != nil {
		return nil, layout{}, err
	}
	for i, e := range c.Tensors {
		h.Tensors[i] = record{Name: e.Name, Scheme: e.Scheme.String(), Rows: e.Rows, Cols: e.Cols}
		if e.Coded {
			h.Tensors[i].Pieces = make([]byte, e.pieces()*pieceRecord)
		} else {
			h.Tensors[i].CRC32C = make([]byte, crc32.Size)
		}
		h.Tensors[i].offsets(relative.planes[i], relative.data)
	}
	raw, err := encoding.Marshal(h)
	if err != nil {
		return nil, layout{}, err
	}
	l, err := arrange(c.Tensors, int64(len(raw)), int64(len(c.Tokenizer)))
	return h, l, err
}

// Size returns the length in bytes of the container for c.
func (c *Contents) Size() (int64, error) {
	_, l, err := c.describe()
	return l.size, err
}

// offsets sets the offsets of the planes relative to data, the offset of the first
// tensor.
func (r *record) offsets(planes [3]extent, data int64) {
	for j, off := range []*int64{&r.Codes, &r.Scales, &r.Mins} {
		*off = 0
		if planes[j].n > 0 {
			*off = planes[j].off - data
		}
	}
}

// assert checks that the stored offsets match the layout.
func (h *header) assert(path string, l layout) error {
	for i, got := range h.Tensors {
		want := got
		want.offsets(l.planes[i], l.data)
		if got.Codes != want.Codes || got.Scales != want.Scales || got.Mins != want.Mins {
			return defect.Corrupt(path, got.Name, "codes, scales and mins are at %d, %d, %d from the first tensor, want %d, %d, %d",
				got.Codes, got.Scales, got.Mins, want.Codes, want.Scales, want.Mins)
		}
	}
	return nil
}

// A checksum identifies bytes.
type checksum struct {
	kind string // as errors call it
	hash func() hash.Hash
	want []byte
}

func (d *Digest) checksum() checksum { return checksum{"SHA-256", sha256.New, d[:]} }

// damaged returns the error for a part whose bytes have another checksum.
func (c checksum) damaged(path, name string, off int64, got []byte) error {
	return &defect.CorruptError{File: path, Off: off, Field: name, Why: fmt.Sprintf("is damaged: its %s is %.8x..., want %.8x...", c.kind, got, c.want)}
}

func damaged(path, name string, off int64, got, want Digest) error {
	return want.checksum().damaged(path, name, off, got[:])
}
