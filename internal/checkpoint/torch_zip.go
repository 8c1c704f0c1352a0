package checkpoint

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"thimble/internal/defect"
	"thimble/internal/mmap"
)

// Since version 1.6 torch writes a zip archive with the entries
//
//	NAME/data.pkl    the saved object, which refers to storages by keys
//	NAME/byteorder   "little"; optional
//	NAME/data/KEY    the elements of a storage
//
// A name only selects an entry; this package never uses one as a path.
// https://github.com/pytorch/pytorch/blob/main/torch/serialization.py, _save
const (
	maxEntries   = 1 << 16
	maxDirectory = 8 << 20 // bytes of the zip file read to list its entries
	maxRatio     = 100     // of inflated to deflated bytes
)

// An archive holds the entries of a zip file by name.
type archive struct {
	file    string
	b       []byte
	entries map[string]*zip.File
	limit   *limitedReader
}

// A limitedReader returns an error after a number of bytes, because package zip
// allocates memory for every entry that a directory lists.
type limitedReader struct {
	*bytes.Reader
	left int
}

var errDirectory = fmt.Errorf("directory of more than %d bytes", maxDirectory)

func (r *limitedReader) ReadAt(b []byte, off int64) (int, error) {
	if r.left -= len(b); r.left < 0 {
		return 0, errDirectory
	}
	return r.Reader.ReadAt(b, off)
}

func openArchive(file string, b []byte) (*archive, error) {
	a := &archive{file, b, map[string]*zip.File{}, &limitedReader{bytes.NewReader(b), maxDirectory}}
	z, err := zip.NewReader(a.limit, int64(len(b)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, a.corrupt("", "%v: it is damaged or truncated; copy or download it again", err)
	}
	if len(z.File) > maxEntries {
		return nil, a.corrupt("", "more than %d entries", maxEntries)
	}
	for _, e := range z.File {
		if a.entries[e.Name] != nil {
			return nil, a.corrupt(e.Name, "occurs twice")
		}
		a.entries[e.Name] = e
	}
	return a, nil
}

func (a *archive) corrupt(entry, format string, args ...any) error {
	if entry == "" {
		entry = "zip"
	}
	return defect.Corrupt(a.file, entry, format, args...)
}

// stored returns the bytes of an entry as stored, which may be deflated.
func (a *archive) stored(e *zip.File) ([]byte, error) {
	a.limit.left = maxDirectory // from here on a limit for each local header
	at, err := e.DataOffset()
	size := uint64(len(a.b))
	switch {
	case err != nil:
		return nil, a.corrupt(e.Name, "%v: it is damaged or truncated; copy or download it again", err)
	case e.Flags&1 != 0:
		return nil, fmt.Errorf("%s: %w", defect.Printable(a.file), defect.Unsupported(e.Name, "encryption"))
	case e.Method != zip.Store && e.Method != zip.Deflate:
		return nil, fmt.Errorf("%s: %w, only stored and deflated entries are", defect.Printable(a.file), defect.Unsupported(e.Name, "zip method %d", e.Method))
	case uint64(at) > size || e.CompressedSize64 > size-uint64(at):
		return nil, a.corrupt(e.Name, "%d bytes at %d, the file has %d: it is truncated; copy or download it again", e.CompressedSize64, at, size)
	case e.Method == zip.Store && e.CompressedSize64 != e.UncompressedSize64:
		return nil, a.corrupt(e.Name, "%d bytes stored in %d, want as many", e.UncompressedSize64, e.CompressedSize64)
	case e.UncompressedSize64 > maxRatio*e.CompressedSize64 || e.UncompressedSize64 > math.MaxInt:
		return nil, a.corrupt(e.Name, "%d bytes deflated to %d, want at most %d to 1", e.UncompressedSize64, e.CompressedSize64, maxRatio)
	}
	return a.b[at:][:e.CompressedSize64], nil
}

// read returns the contents of an entry of at most limit bytes. It verifies the checksum
// of a deflated entry. The contents of any other entry alias the file and are not
// verified.
func (a *archive) read(e *zip.File, limit uint64) ([]byte, error) {
	b, err := a.stored(e)
	switch {
	case err != nil:
		return nil, err
	case e.UncompressedSize64 > limit:
		return nil, a.corrupt(e.Name, "%d bytes, want at most %d", e.UncompressedSize64, limit)
	case e.Method == zip.Store:
		return b, nil
	}
	r := flate.NewReader(bytes.NewReader(b))
	out := make([]byte, e.UncompressedSize64)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, a.corrupt(e.Name, "inflating: %v", err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return nil, a.corrupt(e.Name, "inflates to more than %d bytes", len(out))
	}
	return out, a.verify(e, crc32.ChecksumIEEE(out))
}

func (a *archive) verify(e *zip.File, sum uint32) error {
	if sum == e.CRC32 {
		return nil
	}
	return a.corrupt(e.Name, "CRC-32 is %08x, the zip file records %08x: it is damaged, or torch wrote it after set_crc32_options(False); if so, save it again without that call", sum, e.CRC32)
}

// verifyStored checks the CRC of a stored entry and releases each block that it has
// read, so that the whole file need not be resident.
func (a *archive) verifyStored(e *zip.File) error {
	const block = 1 << 24 // bytes
	b, err := a.stored(e)
	if err != nil {
		return err
	}
	sum := uint32(0)
	for len(b) > 0 {
		n := min(len(b), block)
		sum = crc32.Update(sum, crc32.IEEETable, b[:n])
		mmap.Release(b[:n])
		b = b[n:]
	}
	return a.verify(e, sum)
}

func readTorchZip(c *Checkpoint, file string, b []byte) error {
	const pickleName = "data.pkl"
	a, err := openArchive(file, b)
	if err != nil {
		return err
	}
	root, found := "", 0
	for name := range a.entries {
		if dir, ok := strings.CutSuffix(name, "/"+pickleName); ok && !strings.Contains(dir, "/") {
			root, found = dir+"/", found+1
		}
	}
	switch {
	case found != 1:
		return a.corrupt("", "%d entries are a %s in a top folder, want 1: not a PyTorch checkpoint", found, pickleName)
	case a.entries[root+"constants.pkl"] != nil:
		return fmt.Errorf("%s: %w; save model.state_dict()", defect.Printable(file), defect.Unsupported("checkpoint", "a TorchScript program"))
	}
	if e := a.entries[root+"byteorder"]; e != nil {
		order, err := a.read(e, 16)
		if err != nil {
			return err
		}
		if string(order) != "little" {
			return fmt.Errorf("%s: %w", defect.Printable(file), defect.Unsupported(e.Name, "byte order %.16q", order))
		}
	}
	e := a.entries[root+pickleName]
	text, err := a.read(e, maxPickle)
	if err != nil {
		return err
	}
	if err := a.verify(e, crc32.ChecksumIEEE(text)); err != nil {
		return err
	}
	f := &torchFile{name: file, storages: map[string]*storage{}}
	m := machine{most: pickleLimits, file: file + "/" + e.Name, b: text, storage: f.storage}
	state, err := m.run()
	switch {
	case err != nil:
		return err
	case m.at != len(text):
		return a.corrupt(e.Name, "%d bytes follow the pickle", len(text)-m.at)
	}
	if err := c.locate(a, f, root+"data/"); err != nil {
		return err
	}
	return c.addTensors(file, state)
}

// locate sets the data of each storage to the contents of its entry below folder. It
// inflates and verifies deflated entries, and leaves the checksums of the others to
// Verify.
func (c *Checkpoint) locate(a *archive, f *torchFile, folder string) error {
	inflated, deflatedBytes, inflatedBytes := 0, uint64(0), uint64(0)
	for _, s := range f.order {
		e := a.entries[folder+s.key]
		switch {
		case e == nil:
			return a.corrupt("storage "+s.key, "is used but not in the file")
		case e.UncompressedSize64 != s.size:
			return a.corrupt(e.Name, "%d bytes, the pickle requires %d", e.UncompressedSize64, s.size)
		}
		if e.Method != zip.Store {
			// Entries that overlap would evade maxRatio, which holds for each entry alone.
			if deflatedBytes += e.CompressedSize64; deflatedBytes > uint64(len(a.b)) {
				return a.corrupt(e.Name, "deflated entries overlap")
			}
		}
		var err error
		if s.data, err = a.read(e, s.size); err != nil {
			return err
		}
		if e.Method == zip.Store {
			c.checks = append(c.checks, func() error { return a.verifyStored(e) })
		} else {
			inflated, inflatedBytes = inflated+1, inflatedBytes+s.size
		}
	}
	if inflated > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%s: %d storages are deflated and take %d bytes of memory", defect.Printable(a.file), inflated, inflatedBytes))
	}
	return nil
}
