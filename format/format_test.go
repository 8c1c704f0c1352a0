package format_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/format"
	"thimble/format/formattest"
	"thimble/format/gguf"
	"thimble/format/thimble"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

func TestThimble(t *testing.T) {
	schemes := []qtensor.Scheme{{Kind: qtensor.F32}, {Kind: qtensor.F16}, {Kind: qtensor.BF16}}
	for bits := 2; bits <= 8; bits++ {
		for _, group := range []int{0, 32, 128} {
			schemes = append(schemes, qtensor.Scheme{Kind: qtensor.Int, Bits: bits, Group: group, Asym: bits%2 == 0})
		}
	}
	formattest.Run(t, formattest.Target{Write: writeThimble, Open: format.Open, Schemes: schemes})
}

func writeThimble(path string, m *model.Model) error {
	c, err := thimble.Describe(m)
	if err != nil {
		return err
	}
	w, err := thimble.Create(path, c, thimble.Options{Inputs: m.Files})
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, e := range c.Tensors {
		if err := w.Write(m.Tensors[e.Name]); err != nil {
			return err
		}
	}
	return w.Close()
}

func TestSniff(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, c := range []struct{ text, name, want string }{
		{thimble.Magic, "thimble", "preamble"},
		{gguf.Magic, "GGUF", "version"},
		{thimble.Magic[:7], "", "not supported"},
		{"", "", "not supported"},
		{strings.Repeat("x", 100), "", "not supported"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if name, ok := format.Sniff(path); name != c.name || ok != (c.name != "") {
			t.Errorf("%q is %q, %v", c.text, name, ok)
		}
		_, err := format.Open(path)
		var corrupt *format.CorruptError
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, format.ErrUnsupported) != (c.name == "") || errors.As(err, &corrupt) == (c.name == "") {
			t.Errorf("%q: got %v, want ... %s", c.text, err, c.want)
		}
	}
	for _, p := range []string{dir, filepath.Join(dir, "absent")} {
		if name, ok := format.Sniff(p); ok {
			t.Errorf("%s is %q", p, name)
		}
		if _, err := format.Open(p); err == nil {
			t.Errorf("%s opened", p)
		}
	}
}
