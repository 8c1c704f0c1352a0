// Package label makes the names of texts, models, rows and files that tables and folders show.
package label

import (
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"thimble/internal/defect"
)

// Max is the maximum number of characters in the name of a row of a table.
const Max = 40

// Check returns an error if name does not fit a table.
func Check(name string) error {
	if name == "" || utf8.RuneCountInString(name) > Max || !utf8.ValidString(name) || defect.Printable(name) != name {
		return fmt.Errorf("the name %.60q is not 1 to %d printable characters", name, Max)
	}
	return nil
}

// OfFile returns the name of a text or file: the last element of its path without
// the extension.
func OfFile(path string) string {
	base := filepath.Base(path)
	if path == "-" {
		base = "stdin"
	}
	if name := strings.TrimSuffix(base, filepath.Ext(base)); name != "" {
		base = name
	}
	return strings.ToValidUTF8(defect.Printable(base), "?")
}

// OfModel returns the name of a model: the last element of its path, without the
// extension of a format. Other dots belong to the name, as in SmolLM2-1.7B.
func OfModel(path string) string {
	switch base := filepath.Base(path); strings.ToLower(filepath.Ext(base)) {
	case ".thimble", ".gguf", ".safetensors", ".bin", ".pt", ".pth":
		return OfFile(path)
	default:
		return strings.ToValidUTF8(defect.Printable(base), "?")
	}
}

// FileName returns name with the characters replaced that some file system or shell
// does not accept.
func FileName(name string) string {
	safe := strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '+' {
			return c
		}
		return '-'
	}, name)
	return strings.Trim(safe, "-.")
}
