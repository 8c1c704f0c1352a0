// Package defect defines the errors for input files: a file is corrupt, or valid but
// not supported. It also makes untrusted text safe to print.
package defect

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
)

// ErrUnsupported marks valid input that this program cannot read: an unknown
// architecture, rope type, tokenizer or tensor type. Errors wrap it with the name of
// the unsupported thing; test for it with errors.Is.
var ErrUnsupported = errors.New("unsupported")

// A CorruptError reports that a file violates its own format.
type CorruptError struct {
	File  string // path as the user wrote it
	Off   int64  // byte offset in File, or -1 if unknown
	Field string // the key, tensor or header field at fault
	Why   string // what is wrong, with the values found and expected
}

// Corrupt returns a *CorruptError for a field of file, without an offset.
func Corrupt(file, field, format string, args ...any) error {
	return &CorruptError{File: file, Off: -1, Field: field, Why: fmt.Sprintf(format, args...)}
}

func (e *CorruptError) Error() string {
	var b strings.Builder
	b.WriteString(Printable(e.File))
	if e.Off >= 0 {
		fmt.Fprintf(&b, ": byte %d", e.Off)
	}
	if e.Field != "" {
		b.WriteString(": " + Printable(e.Field))
	}
	b.WriteString(": " + e.Why)
	return b.String()
}

// Unsupported returns an error that wraps ErrUnsupported, with the text
// "subject: text is not supported", where text is formatted from format and args.
func Unsupported(subject, format string, args ...any) error {
	return fmt.Errorf("%s: %s is not supported%w", Printable(subject), fmt.Sprintf(format, args...), silent{ErrUnsupported})
}

// Replace returns an error with the given text that wraps err, whose own text it hides.
func Replace(err error, text string) error { return fmt.Errorf("%s%w", text, silent{err}) }

// silent wraps an error for errors.Is and has no text of its own.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// Printable returns s in a form that is safe on one line of a terminal. It cuts s to 128
// bytes, and quotes it if it has characters that are not printable or invalid UTF-8.
// Backslashes, which are in every path on Windows, are no reason to quote.
func Printable(s string) string {
	const limit = 128 // bytes
	cut := s
	if len(cut) > limit {
		cut = strings.ToValidUTF8(cut[:limit], "") + "..."
	}
	q := fmt.Sprintf("%q", cut)
	if strings.ReplaceAll(q[1:len(q)-1], `\\`, `\`) == cut {
		return cut
	}
	return q
}

// OneLine returns s with each control character replaced by a space.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// Denied says why a file cannot be read, and what to do.
const Denied = "permission denied; ask its owner for the right to read it (chmod a+r)"

// Unreadable returns the error for the value of a flag, a file that cannot be read because
// of err. It wraps err, but names the file only once and no system call.
func Unreadable(flag, path string, err error) error {
	why := err.Error()
	if p := new(fs.PathError); errors.As(err, &p) {
		why = p.Err.Error()
	}
	switch { // in the same words on every system
	case errors.Is(err, fs.ErrNotExist):
		why = "no such file"
	case errors.Is(err, fs.ErrPermission):
		why = Denied
	}
	return Replace(err, fmt.Sprintf("%s %s: %s", flag, Printable(path), why))
}
