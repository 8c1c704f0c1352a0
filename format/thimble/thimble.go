// Package thimble reads and writes the .thimble container: a model's description,
// tokenizer and tensors in one file, which is mapped and used in place. docs/FORMAT.md is
// the normative description.
//
//	0         preamble   72 bytes: magic, version, features, lengths, SHA-256 of the header
//	72        header     deterministic CBOR: spec, provenance, gates, tensor table
//	align 64  tokenizer  CBOR, may be empty
//	align 16K tensors    in the order of use, each plane on a 64-byte boundary
//
// Every byte between these parts is zero, and the file ends with the last plane, rounded
// up to 64 bytes. The tokenizer comes before the tensors so that one read at the start of
// the file gives everything except the weights, and so that the weights fill whole pages.
package thimble

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/internal/tokenizer"
)

// Magic is the first bytes of every container. Like PNG's it has a byte that is not ASCII
// and both kinds of line ending, so that a transfer in text mode is detected.
const Magic = "\x89THM\r\n\x1a\n"

// Name is the name of the format.
const Name = "thimble"

// version is the version of the container that this package reads and writes.
const version = 1

const (
	preambleLen  = 72
	maxHeader    = 16 << 20 // bytes; a Spec has at most 16,387 tensors, which take 3 MiB
	maxTokenizer = 128 << 20
	pageAlign    = 16 << 10 // the largest page of Android and iOS
	planeAlign   = 64       // one cache line, and the widest vector register

	featureCoded  = 1 << 0 // some tensor is coded
	featureShort  = 1 << 1 // some tensor has short scales
	featureUneven = 1 << 2 // some tensor has uneven levels
	known         = featureCoded | featureShort | featureUneven
)

// A Digest is a SHA-256.
type Digest [sha256.Size]byte

func (d Digest) String() string               { return hex.EncodeToString(d[:]) }
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// A preamble is the first preambleLen bytes of the file. This struct is the only list of
// its fields: encoding/binary reads and writes it in little endian.
type preamble struct {
	Magic    [len(Magic)]byte
	Version  uint32
	Header   uint32 // bytes of the header
	Features uint64 // one bit for each extension that a reader must understand
	Data     uint64 // offset of the first tensor
	File     uint64 // bytes of the file
	SHA256   Digest // of the header
}

// Open maps the container at path. It verifies the preamble, the header and that the
// parts fill the file, but does not read the tokenizer and the tensors, as the model's
// Verify does. Its cost depends only on the number of tensors.
//
// The model's tensors alias the mapping, but Verify decodes those that are coded into memory. Reading them while another program
// truncates the file is a memory fault, which parallel.Guard turns into an error.
func Open(path string) (*model.Model, error) {
	c, err := open(path)
	if err != nil {
		return nil, err
	}
	return c.model(), nil
}

func (c *container) model() *model.Model {
	m := &model.Model{
		Path:       c.path,
		Spec:       c.contents.Spec,
		Tensors:    make(map[string]*qtensor.Matrix, len(c.contents.Tensors)),
		Tokenizer:  c.tokenizer,
		Generation: c.contents.Generation,
		Provenance: c.contents.Provenance,
		Files:      []string{c.path},
		Verify:     c.check,
		Scan:       c.scan,
		Close:      c.file.Close,
	}
	for i, e := range c.contents.Tensors {
		if e.Coded {
			continue
		}
		p := c.planes[i]
		m.Tensors[e.Name] = &qtensor.Matrix{
			Scheme: e.Scheme, Rows: e.Rows, Cols: e.Cols,
			Codes: c.bytes(p[0]), Scales: c.bytes(p[1]), Mins: c.bytes(p[2]),
		}
	}
	for _, t := range c.coded {
		m.Tensors[t.Name] = t.matrix
	}
	return m
}

// A container is a file whose preamble and header are valid.
type container struct {
	path     string
	file     *mmap.File
	preamble preamble
	header   *header
	contents *Contents // without the tokenizer's bytes
	coded    []*codedTensor
	decoding time.Duration // of coded, by check

	tokenizer func() (*tokenizer.Data, error) // decodes it once
	layout
}

func open(path string) (*container, error) {
	file, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	var c *container
	err = parallel.Guard(func() (err error) {
		c, err = parse(path, file.Data)
		return err
	})
	if err == parallel.ErrFault {
		err = fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	c.file = file
	return c, nil
}

// parse checks the preamble and the header, which determine where all other parts are.
func parse(path string, data []byte) (*container, error) {
	c := &container{path: path, file: &mmap.File{Data: data}}
	c.tokenizer = sync.OnceValues(c.decodeTokenizer)
	p := &c.preamble
	fault := func(off int64, field, format string, args ...any) (*container, error) {
		return nil, &defect.CorruptError{File: path, Off: off, Field: field, Why: fmt.Sprintf(format, args...)}
	}
	if len(data) < preambleLen {
		return fault(int64(len(data)), "preamble", "is truncated, want %d bytes; copy or download the file again", preambleLen)
	}
	if _, err := binary.Decode(data, binary.LittleEndian, p); err != nil {
		return fault(0, "preamble", "%v", err)
	}
	left := uint64(len(data)) - preambleLen
	switch {
	case string(p.Magic[:]) != Magic:
		return fault(0, "magic", "is %q, want %q", p.Magic[:], Magic)
	case p.Version > version:
		return nil, defect.Unsupported(path, "container version %d (this program reads %d, use a newer one)", p.Version, version)
	case p.Version != version:
		return fault(8, "version", "is %d, want %d", p.Version, version)
	case p.Features&^known != 0:
		return nil, defect.Unsupported(path, "container feature %#x (use a newer version of this program)", p.Features&^known)
	case p.File > uint64(len(data)):
		return fault(32, "file length", "is %d, but the file has %d bytes: it is cut off; copy or download it again", p.File, len(data))
	case p.File != uint64(len(data)):
		return fault(32, "file length", "is %d, but the file has %d bytes", p.File, len(data))
	case p.Header > maxHeader || uint64(p.Header) > left:
		return fault(12, "header length", "is %d, want at most %d", p.Header, min(maxHeader, left))
	}
	raw := data[preambleLen : preambleLen+p.Header]
	if got := Digest(sha256.Sum256(raw)); got != p.SHA256 {
		return fault(preambleLen, "header", "is damaged: its SHA-256 is %.16s..., the preamble has %.16s...; %s", got, p.SHA256, remedy)
	}
	var err error
	if c.header, err = decodeHeader(path, raw); err != nil {
		return nil, err
	}
	if c.contents, err = c.header.contents(path); err != nil {
		return nil, err
	}
	if err := c.header.checkSums(path, c.contents.Tensors); err != nil {
		return nil, err
	}
	if c.layout, err = arrange(c.contents.Tensors, int64(p.Header), c.header.Tokenizer.Bytes); err != nil {
		return fault(preambleLen, "tensors", "%v", err)
	}
	if err := c.header.assert(path, c.layout); err != nil {
		return nil, err
	}
	switch {
	case p.Data != uint64(c.data):
		return fault(24, "data offset", "is %d, want %d", p.Data, c.data)
	case p.File != uint64(c.size):
		return fault(32, "file length", "is %d, the header's tensors end at %d", p.File, c.size)
	case p.Features != c.contents.features():
		return fault(16, "features", "are %#x, those of the header's tensors are %#x", p.Features, c.contents.features())
	}
	c.placePieces()
	return c, nil
}

// bytes returns the bytes of e, whose bounds parse has checked.
func (c *container) bytes(e extent) []byte {
	return c.file.Data[e.off:e.end():e.end()]
}

// decodeTokenizer verifies and decodes the tokenizer.
func (c *container) decodeTokenizer() (d *tokenizer.Data, err error) {
	want := c.header.Tokenizer
	if want.Bytes == 0 {
		return nil, nil
	}
	var blob []byte
	err = parallel.Guard(func() error {
		blob = bytes.Clone(c.bytes(c.layout.tokenizer))
		return nil
	})
	if err == nil {
		if got := Digest(sha256.Sum256(blob)); got != want.SHA256 {
			return nil, fmt.Errorf("%w; %s", damaged(c.path, tokenizerName, c.layout.tokenizer.off, got, want.SHA256), remedy)
		}
		d, err = tokenizer.DecodeData(blob)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", defect.Printable(c.path), err)
	}
	return d, nil
}
