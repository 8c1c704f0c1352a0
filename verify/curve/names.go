package curve

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
)

// MaxName is how many characters the name of a row or a peer may have.
const MaxName = 40

// CheckName reports why name does not fit a table.
func CheckName(name string) error {
	if name == "" || utf8.RuneCountInString(name) > MaxName || !utf8.ValidString(name) || defect.Printable(name) != name {
		return fmt.Errorf("the name %.60q is not 1 to %d letters that can be printed", name, MaxName)
	}
	return nil
}

// NameOf is what a text or model is called: its path without folder and ending.
func NameOf(path string) string {
	base := filepath.Base(path)
	if path == "-" {
		base = "stdin"
	}
	if name := strings.TrimSuffix(base, filepath.Ext(base)); name != "" {
		base = name
	}
	return strings.ToValidUTF8(defect.Printable(base), "?")
}

// FileName turns a name into one that every file system and shell accepts.
func FileName(name string) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '+' {
			return c
		}
		return '-'
	}, name)
	return strings.Trim(safe, "-.")
}
