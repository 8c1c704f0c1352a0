// Package journal keeps what a long run has finished in a file of records, so that
// another run can continue after an interruption. The file only grows, and a record
// is either whole or not there.
//
//	magic        "thimble unfinished 1\n"
//	record 0     the head: what identifies the run
//	record 1...  what it has finished
//
//	record:
//	  length     uint64, little endian, of the content
//	  content
//	  SHA-256    of the SHA-256 before it (of the magic, for record 0), length, content
//
// A record whose SHA-256 differs, such as a power cut leaves, ends the journal: Open
// ignores it and everything after it. Each SHA-256 covers all that comes before it,
// so no record can be exchanged with one of another run.
package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/parallel"
)

// Magic begins every journal.
const Magic = "thimble unfinished 1\n"

// A Journal is a file of records. A nil Journal keeps nothing. It serves one
// goroutine.
type Journal struct {
	path    string
	replace bool                   // a journal that is at path already
	head    func() ([]byte, error) // content of a new journal's first record
	old     *mmap.File             // what Open found
	records [][]byte               // of old, with the head
	torn    int64                  // bytes of old after the last whole record
	sum     [sha256.Size]byte      // of the last whole record
	end     int64                  // offset after the last whole record
	file    *os.File               // once something was appended
	grown   int                    // records appended
}

// New returns an empty journal. The first Append creates its file at path, with what
// head returns as the head; head may wait. With replace, it then replaces another
// journal there.
func New(path string, replace bool, head func() ([]byte, error)) *Journal {
	return &Journal{path: path, replace: replace, head: head}
}

// Open reads the journal at path. The file does not change before Append.
func Open(path string) (*Journal, error) {
	file, err := mmap.Open(path)
	if err != nil {
		return nil, err
	}
	j := &Journal{path: path, old: file}
	err = parallel.Guard(j.scan)
	if errors.Is(err, parallel.ErrFault) {
		err = fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return j, nil
}

// scan finds the whole records.
func (j *Journal) scan() error {
	data := j.old.Data
	if len(data) < len(Magic) || string(data[:len(Magic)]) != Magic {
		return &defect.CorruptError{File: j.path, Off: 0, Field: "magic", Why: fmt.Sprintf("is not %q: the file is not a journal of an interrupted run", Magic)}
	}
	j.sum, j.end = sha256.Sum256([]byte(Magic)), int64(len(Magic))
	for {
		content, sum, ok := next(data[j.end:], j.sum)
		if !ok {
			break
		}
		j.records, j.sum = append(j.records, content), sum
		j.end += int64(lengthBytes + len(content) + sha256.Size)
	}
	j.torn = int64(len(data)) - j.end
	if len(j.records) == 0 {
		return &defect.CorruptError{File: j.path, Off: j.end, Field: "head", Why: "is damaged, so nothing can be continued; remove the file"}
	}
	return nil
}

const lengthBytes = 8

// next reads the record at the start of data; before is the SHA-256 of the record
// before it. ok is false if there is no whole record.
func next(data []byte, before [sha256.Size]byte) (content []byte, sum [sha256.Size]byte, ok bool) {
	if len(data) < lengthBytes+sha256.Size {
		return nil, sum, false
	}
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-lengthBytes-sha256.Size) {
		return nil, sum, false
	}
	content = data[lengthBytes : lengthBytes+n : lengthBytes+n]
	sum = chain(before, content)
	return content, sum, string(sum[:]) == string(data[lengthBytes+n:][:sha256.Size])
}

// chain returns the SHA-256 of a record of these parts, after one with SHA-256 before.
func chain(before [sha256.Size]byte, parts ...[]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(before[:])
	h.Write(length(parts))
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// length returns the length of all parts as a record stores it.
func length(parts [][]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(n))
}

// Head returns the first record that Open found.
func (j *Journal) Head() []byte { return j.records[0] }

// Records returns the other records that Open found, the oldest first. They are
// read-only and valid until Close.
func (j *Journal) Records() [][]byte {
	if j == nil || j.records == nil {
		return nil
	}
	return j.records[1:]
}

// Torn returns how many bytes after the last whole record Open ignored.
func (j *Journal) Torn() int64 { return j.torn }

// Path returns where the journal is, or will be.
func (j *Journal) Path() string { return j.path }

// Len returns the number of records now, without the head.
func (j *Journal) Len() int {
	if j == nil {
		return 0
	}
	return len(j.Records()) + j.grown
}

// Append adds a record, the concatenation of parts, and syncs the file to disk.
func (j *Journal) Append(parts ...[]byte) error {
	if j == nil {
		return nil
	}
	if err := j.begin(); err != nil {
		return err
	}
	if err := j.put(parts); err != nil {
		return err
	}
	j.grown++
	return nil
}

// begin opens the file for writing.
func (j *Journal) begin() error {
	if j.file != nil {
		return nil
	}
	if j.old != nil {
		f, err := os.OpenFile(j.path, os.O_WRONLY, 0)
		if err == nil {
			err = f.Truncate(j.end)
		}
		j.file = f
		return err
	}
	head, err := j.head()
	if err != nil {
		return err
	}
	if j.replace {
		if err := Discard(j.path); err != nil {
			return err
		}
	}
	if j.file, err = os.OpenFile(j.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666); err != nil {
		return err
	}
	if _, err := j.file.WriteString(Magic); err != nil {
		return err
	}
	j.sum, j.end = sha256.Sum256([]byte(Magic)), int64(len(Magic))
	return j.put([][]byte{head})
}

// put writes a record after the last one.
func (j *Journal) put(parts [][]byte) error {
	sum := chain(j.sum, parts...)
	w := io.NewOffsetWriter(j.file, j.end)
	all := append(append([][]byte{length(parts)}, parts...), sum[:])
	n := int64(0)
	for _, p := range all {
		if _, err := w.Write(p); err != nil {
			return err
		}
		n += int64(len(p))
	}
	if err := j.file.Sync(); err != nil {
		return err
	}
	j.sum, j.end = sum, j.end+n
	return nil
}

// Close closes the file and keeps it on disk. Records that were read become invalid.
func (j *Journal) Close() {
	if j == nil {
		return
	}
	if j.file != nil {
		j.file.Close()
	}
	if j.old != nil {
		j.old.Close()
	}
	j.file, j.old, j.records = nil, nil, nil
}

// Remove closes the journal and deletes its file, or, if nothing was appended, the
// journal that it would have replaced.
func (j *Journal) Remove() error {
	if j == nil || j.old == nil && j.file == nil && !j.replace {
		return nil
	}
	j.Close()
	return Discard(j.path)
}

// Discard deletes the journal at path, if there is one. Any other file there is an
// error.
func Discard(path string) error {
	there, err := Exists(path)
	if err == nil && there {
		err = os.Remove(path)
	}
	return err
}

// Exists reports whether there is a journal at path, damaged or not. Any other file
// there is an error.
func Exists(path string) (bool, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	file, err := mmap.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	ok := false
	if err := parallel.Guard(func() error {
		ok = len(file.Data) >= len(Magic) && string(file.Data[:len(Magic)]) == Magic
		return nil
	}); err != nil {
		return false, fmt.Errorf("%s: %w", defect.Printable(path), err)
	}
	if !ok {
		return false, fmt.Errorf("%s: a run would keep its finished work here, and this file is not a journal; rename it or choose another output", defect.Printable(path))
	}
	return true, nil
}
