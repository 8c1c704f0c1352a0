// Package strictyaml reads and writes the project's small YAML files: recipes,
// and the rows and peers of a curve.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"thimble/internal/spell"

	"github.com/goccy/go-yaml"
)

const (
	Limit = 1 << 20 // the most bytes that Decode accepts

	// depth is the most nested brackets, or block indicators (-, ?, :) at the start of
	// a line. The parser recurses once for each.
	depth = 64
)

// Decode stores the only document of text in v. For an unknown or duplicate key it
// returns an error that gives the line, for an unknown one an *UnknownKeyError. Every error
// text is a single line.
func Decode(text []byte, v any) (err error) {
	defer func() { // goccy/go-yaml v1.19.2 panics on "!0 0" where v has a list
		if recover() != nil {
			err = errors.New("cannot be decoded: the YAML parser panicked")
		}
	}()
	if len(text) > Limit {
		return fmt.Errorf("is %d bytes long, the limit is %d", len(text), Limit)
	}
	if tooDeep(text) {
		return fmt.Errorf("is nested deeper than %d", depth)
	}
	d := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err = d.Decode(v); errors.Is(err, io.EOF) {
		return errors.New("is empty")
	} else if err != nil {
		return named(strings.Join(strings.Fields(yaml.FormatError(err, false, false)), " "), v)
	}
	if err = d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return errors.New("has more than one document")
	}
	return nil
}

// tooDeep reports whether text may be nested deeper than depth. It counts brackets
// in quoted strings as well, where they usually come in pairs.
func tooDeep(text []byte) bool {
	open, indicators, leading := 0, 0, true
	for _, c := range text {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		case '\n':
			indicators, leading = 0, true
		}
		if leading = leading && bytes.IndexByte([]byte(" -?:\n"), c) >= 0; leading && c != ' ' {
			indicators++
		}
		if open > depth || indicators > depth {
			return true
		}
	}
	return false
}

// Encode returns v as YAML.
func Encode(v any) (string, error) {
	text, err := yaml.Marshal(v)
	return string(text), err
}

// An UnknownKeyError reports a key that a document may not have.
type UnknownKeyError struct {
	Line string
	Key  string
	Keys []string // that it may have, at any depth, the outer ones first
	Hint string   // the nearest of Keys, as spell.Suggest says it

	text string
}

func (e *UnknownKeyError) Error() string { return e.text }

// unknown matches the line and the key in the parser's error for an unknown key.
var unknown = regexp.MustCompile(`^\[(\d+):\d+\] unknown field "([^"]*)"`)

// named returns the error with a text of the parser, for the type of v.
func named(text string, v any) error {
	found := unknown.FindStringSubmatch(text)
	if found == nil {
		return errors.New(text)
	}
	e := &UnknownKeyError{Line: found[1], Key: found[2], Keys: keysOf(reflect.TypeOf(v))}
	e.Hint = spell.Suggest(e.Key, e.Keys)
	e.text = found[0] + e.Hint + text[len(found[0]):]
	return e
}

// keysOf returns the keys of the structs that t has, at any depth, the outer ones first.
func keysOf(t reflect.Type) (keys []string) {
	for queue := []reflect.Type{t}; len(queue) > 0; queue = queue[1:] {
		switch t := queue[0]; t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			queue = append(queue, t.Elem())
		case reflect.Struct:
			for i := range t.NumField() {
				f := t.Field(i)
				if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" && name != "-" && !slices.Contains(keys, name) {
					keys = append(keys, name)
				}
				if f.IsExported() {
					queue = append(queue, f.Type)
				}
			}
		}
	}
	return keys
}
