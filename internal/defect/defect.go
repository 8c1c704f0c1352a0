// Package defect names what can be wrong with a file: corrupt, or not supported.
package defect

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// ErrUnsupported marks input that is valid but not ours to read: an unknown
// architecture, rope type, tokenizer or tensor type. It is wrapped with the
// name of the thing; test with errors.Is.
var ErrUnsupported = errors.New("unsupported")

// A CorruptError says that a file breaks the rules of its own format.
type CorruptError struct {
	File  string // path as the user gave it
	Off   int64  // byte offset in File, or -1 where none applies
	Field string // the key, tensor or header field at fault
	Why   string // what is wrong, with the value found and the value wanted
}

// Corrupt returns a CorruptError for field of file at no particular offset.
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

// Unsupported returns an error that wraps ErrUnsupported and reads
// "subject: what is not supported".
func Unsupported(subject, format string, args ...any) error {
	return fmt.Errorf("%s: %s is not supported%w", Printable(subject), fmt.Sprintf(format, args...), silent{ErrUnsupported})
}

// silent wraps an error for errors.Is without adding its text.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// Printable returns s fit for one line of a terminal: control bytes and
// invalid UTF-8 quoted, and no more than 128 bytes of it.
func Printable(s string) string {
	const most = 128
	cut := s
	if len(cut) > most {
		cut = strings.ToValidUTF8(cut[:most], "") + "..."
	}
	q := fmt.Sprintf("%q", cut)
	if plain := q[1 : len(q)-1]; plain == cut {
		return cut
	}
	return fmt.Sprintf("%q", cut)
}

// OneLine returns s with every control character replaced by a space.
func OneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}
