// Package strictyaml reads and writes the project's small YAML files: recipes,
// and the rows and peers of a curve.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
)

const (
	Limit = 1 << 20 // bytes that Decode takes
	depth = 64      // brackets inside each other, and dashes that begin a line; the parser's stack grows with them
)

// Decode reads the one document of text into v. An unknown or repeated key is an
// error that gives its line. Errors are one line.
func Decode(text []byte, v any) (err error) {
	defer func() { // "!0 0" where a list is wanted, with goccy/go-yaml v1.19.2
		if recover() != nil {
			err = errors.New("is malformed in a way that the parser does not know")
		}
	}()
	if len(text) > Limit {
		return fmt.Errorf("takes %d bytes, the limit is %d", len(text), Limit)
	}
	if tooDeep(text) {
		return fmt.Errorf("is nested deeper than %d", depth)
	}
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err = d.Decode(v); errors.Is(err, io.EOF) {
		return errors.New("is empty")
	} else if err != nil {
		return errors.New(strings.Join(strings.Fields(yaml.FormatError(err, false, false)), " "))
	}
	if err = d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("has more than one document")
	}
	return nil
}

// tooDeep reports whether text may be nested deeper than it needs to be. Brackets
// count wherever they are: in quotes they come in pairs, as a rule.
func tooDeep(text []byte) bool {
	open, marks, leading := 0, 0, true
	for _, c := range text {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		case '\n':
			marks, leading = 0, true
		}
		if leading = leading && bytes.IndexByte([]byte(" -?:\n"), c) >= 0; leading && c != ' ' {
			marks++
		}
		if open > depth || marks > depth {
			return true
		}
	}
	return false
}

// Encode writes v.
func Encode(v any) (string, error) {
	text, err := yaml.Marshal(v)
	return string(text), err
}
