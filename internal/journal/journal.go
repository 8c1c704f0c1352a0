// Package journal stores the finished parts of a long run in an append-only file
// of records, so that the next run can resume after an interruption.
//
//	magic        "thimble unfinished 1\n"
//	record 0     the head, which identifies the run
//	record 1...  the finished parts
//
//	record:
//	  length     uint64, little endian, of the content
//	  content
//	  SHA-256    of the previous record's SHA-256 (record 0: of the magic's), length, content
//
// A power cut can leave a record whose SHA-256 does not match. Open ignores that
// record and everything after it. Because each SHA-256 covers all that precedes
// it, a record of one run cannot replace a record of another.
package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/parallel"
)

// Magic begins every journal.
const Magic = "thimble unfinished 1\n"

// A Journal is a file of records. Append, Records, Len, Close and Remove may be
// called on a nil Journal, which stores nothing. A Journal is not safe for
// concurrent use.
type Journal struct {
	path     string
	replace  bool                   // an existing journal at path
	head     func() ([]byte, error) // returns the head of a new journal
	old      *mmap.File             // the file that Open read
	records  [][]byte               // of old, with the head
	torn     int64                  // bytes of old after the last whole record
	sum      [sha256.Size]byte      // of the last whole record
	end      int64                  // offset of the end of the last whole record
	file     *os.File               // for writing; nil until the first Append
	appended int                    // records
	err      error                  // the first error of Append, which ends the journal
}

// New returns an empty journal. The first Append calls head, which may block, and
// then creates the file at path. If replace is set, Append replaces an existing
// journal there; otherwise it fails.
func New(path string, replace bool, head func() ([]byte, error)) *Journal {
	return &Journal{path: path, replace: replace, head: head}
}

// Open reads the journal at path. It leaves the file unchanged. Append writes over a torn
// record, and Close removes what is then left of it.
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

// scan reads the whole records.
func (j *Journal) scan() error {
	data := j.old.Data
	if len(data) < len(Magic) || string(data[:len(Magic)]) != Magic {
		return &defect.CorruptError{File: j.path, Off: 0, Field: "magic", Why: fmt.Sprintf("is not %q: no interrupted run has left this file", Magic)}
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
		return &defect.CorruptError{File: j.path, Off: j.end, Field: "head", Why: "is damaged, so no run can resume from this file; remove it"}
	}
	return nil
}

const lengthBytes = 8

// next reads the record at the start of data. prev is the SHA-256 of the record
// before it. ok is false if data does not begin with a whole, undamaged record.
func next(data []byte, prev [sha256.Size]byte) (content []byte, sum [sha256.Size]byte, ok bool) {
	if len(data) < lengthBytes+sha256.Size {
		return nil, sum, false
	}
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-lengthBytes-sha256.Size) {
		return nil, sum, false
	}
	content = data[lengthBytes : lengthBytes+n : lengthBytes+n]
	sum = chain(prev, content)
	return content, sum, string(sum[:]) == string(data[lengthBytes+n:][:sha256.Size])
}

// chain returns the SHA-256 of a record whose content is the concatenation of
// parts. prev is the SHA-256 of the record before it.
func chain(prev [sha256.Size]byte, parts ...[]byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(prev[:])
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

// Head returns the first record that Open read.
func (j *Journal) Head() []byte { return j.records[0] }

// Records returns the other records that Open read, the oldest first. They are
// read-only and valid until Close.
func (j *Journal) Records() [][]byte {
	if j == nil || j.records == nil {
		return nil
	}
	return j.records[1:]
}

// Torn returns the number of bytes after the last whole record, which Open ignored.
func (j *Journal) Torn() int64 { return j.torn }

// Path returns the path of the journal's file, which may not exist yet.
func (j *Journal) Path() string { return j.path }

// Len returns the current number of records, without the head.
func (j *Journal) Len() int {
	if j == nil {
		return 0
	}
	return len(j.Records()) + j.appended
}

// Append adds a record, the concatenation of parts, and syncs the file.
func (j *Journal) Append(parts ...[]byte) error {
	if j == nil {
		return nil
	}
	if j.Begin() == nil {
		j.err = j.put(parts)
	}
	if j.err != nil {
		return j.err
	}
	j.appended++
	return nil
}

// Begin creates the file of a new journal, as the first Append would.
func (j *Journal) Begin() error {
	if j.file == nil && j.err == nil {
		j.err = j.begin()
	}
	return j.err
}

// begin opens the file for writing.
func (j *Journal) begin() error {
	if j.old != nil {
		f, err := os.OpenFile(j.path, os.O_WRONLY, 0)
		j.file = f
		return err
	}
	head, err := j.head()
	if err != nil {
		return err
	}
	if j.replace {
		if _, err := Exists(j.path); err != nil { // it is something else
			return err
		}
	}
	// A run can only resume if the head is whole, so it appears as a whole or not at all.
	sum := chain(sha256.Sum256([]byte(Magic)), head)
	text := slices.Concat([]byte(Magic), length([][]byte{head}), head, sum[:])
	if err := atomicfile.WriteFile(j.path, text, atomicfile.Options{Overwrite: j.replace}); err != nil {
		return err
	}
	j.sum, j.end = sum, int64(len(text))
	j.file, err = os.OpenFile(j.path, os.O_WRONLY, 0)
	return err
}

// put writes a record after the last whole one.
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

// Close closes the file but does not delete it. The slices that Head and Records
// returned are no longer valid.
func (j *Journal) Close() {
	if j == nil {
		return
	}
	if j.old != nil {
		j.old.Close()
	}
	if j.file != nil {
		if j.torn > 0 { // not earlier, because Windows does not truncate a mapped file
			_ = j.file.Truncate(j.end) // Open ignores the rest if this fails
		}
		j.file.Close()
	}
	j.file, j.old, j.records = nil, nil, nil
}

// Remove closes the journal and deletes its file. A journal from New with replace
// set that has no file yet deletes the one it would have replaced.
func (j *Journal) Remove() error {
	if j == nil || j.old == nil && j.file == nil && !j.replace {
		return nil
	}
	j.Close()
	return Discard(j.path)
}

// Discard deletes the journal at path, if there is one. It returns an error if
// path names anything else.
func Discard(path string) error {
	exists, err := Exists(path)
	if err == nil && exists {
		err = os.Remove(path)
	}
	return err
}

// Exists reports whether there is a journal at path, damaged or not. It returns an
// error if path names anything else.
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
		return false, fmt.Errorf("%s: exists and is not a journal, so the run cannot store its progress there; rename it or choose another output", defect.Printable(path))
	}
	return true, nil
}
