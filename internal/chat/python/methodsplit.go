package python

import (
	"errors"
	"fmt"
	"strings"
)

func listOfTexts(r *Run, parts []string) (Value, error) {
	items := make([]Value, len(parts))
	for i, s := range parts {
		items[i] = s
	}
	return &List{items}, r.Charge(len(parts) * SizeOfItem)
}

func split(fromRight bool) textMethod {
	return func(r *Run, s string, a Arguments) (Value, error) {
		v, err := a.Bind("split", 0, "sep", "maxsplit")
		if err != nil {
			return nil, err
		}
		most, err := Limit(v[1], -1)
		if err != nil {
			return nil, err
		}
		if most < 0 {
			most = int64(len(s)) + 1
		}
		most = min(most, int64(len(s))+1)
		if v[0] == Missing || v[0] == nil {
			return listOfTexts(r, splitSpace(s, int(most), fromRight))
		}
		sep, ok := TextOf(v[0])
		switch {
		case !ok:
			return nil, fmt.Errorf("must be str or None, not %s", TypeName(v[0]))
		case sep == "":
			return nil, errors.New("empty separator")
		case !fromRight:
			return listOfTexts(r, strings.SplitN(s, sep, int(most)+1))
		}
		var parts []string
		for ; most > 0; most-- {
			at := strings.LastIndex(s, sep)
			if at < 0 {
				break
			}
			parts = append(parts, s[at+len(sep):])
			s = s[:at]
		}
		parts = append(parts, s)
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		return listOfTexts(r, parts)
	}
}

// splitSpace splits at runs of white space, at most a number of times.
func splitSpace(s string, most int, fromRight bool) (parts []string) {
	if !fromRight {
		for s = strings.TrimLeftFunc(s, IsSpace); s != ""; s = strings.TrimLeftFunc(s, IsSpace) {
			at := strings.IndexFunc(s, IsSpace)
			if at < 0 || len(parts) == most {
				if len(parts) == most {
					at = len(s)
				} else {
					at = len(strings.TrimRightFunc(s, IsSpace))
				}
			}
			parts = append(parts, s[:at])
			s = s[at:]
		}
		return parts
	}
	for s = strings.TrimRightFunc(s, IsSpace); s != ""; s = strings.TrimRightFunc(s, IsSpace) {
		at := strings.LastIndexFunc(s, IsSpace)
		if at < 0 || len(parts) == most {
			parts = append(parts, s)
			break
		}
		at += FirstRune(s[at:])
		parts = append(parts, s[at:])
		s = s[:at]
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return parts
}

func splitLinesOf(r *Run, s string, a Arguments) (Value, error) {
	v, err := a.Bind("splitlines", 0, "keepends")
	if err != nil {
		return nil, err
	}
	return listOfTexts(r, SplitLines(s, v[0] != Missing && Truth(v[0])))
}

func partition(index func(s, sep string) int) textMethod {
	return func(_ *Run, s string, a Arguments) (Value, error) {
		v, err := texts(a, "partition", ".sep")
		if err != nil {
			return nil, err
		}
		if v[0] == "" {
			return nil, errors.New("empty separator")
		}
		at := index(s, v[0])
		switch {
		case at >= 0:
			return &Tuple{[]Value{s[:at], v[0], s[at+len(v[0]):]}}, nil
		case index("aa", "a") == 1: // rpartition
			return &Tuple{[]Value{"", "", s}}, nil
		}
		return &Tuple{[]Value{s, "", ""}}, nil
	}
}

func search(name string, find func(s, part string) int) textMethod {
	return func(r *Run, s string, a Arguments) (Value, error) {
		v, err := a.Bind(name, 1, ".sub", ".start", ".end")
		if err != nil {
			return nil, err
		}
		sub, ok := TextOf(v[0])
		if !ok {
			return nil, fmt.Errorf("must be str, not %s", TypeName(v[0]))
		}
		part, from, inside, err := r.part(s, v[1], v[2])
		if err != nil {
			return nil, err
		}
		at := -1
		if inside {
			at = find(part, sub)
		}
		switch {
		case name == "count":
			return int64(max(0, at)), nil
		case at >= 0:
			return from + runes(part[:at]), nil
		case strings.HasSuffix(name, "index"):
			return nil, errors.New("substring not found")
		}
		return int64(-1), nil
	}
}

func joinOf(r *Run, s string, a Arguments) (Value, error) {
	v, err := a.Bind("join", 1, ".iterable")
	if err != nil {
		return nil, err
	}
	items, err := r.Items(v[0])
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(items))
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("sequence item %d: expected str instance, %s found", i, TypeName(item))
		}
		parts[i] = text
	}
	return r.Join(parts, s)
}

// Join is Python's sep.join(parts).
func (r *Run) Join(parts []string, sep string) (string, error) {
	total := len(sep) * max(0, len(parts)-1)
	for _, s := range parts {
		total += len(s)
	}
	if err := r.CheckText(total); err != nil {
		return "", err
	}
	return strings.Join(parts, sep), nil
}
