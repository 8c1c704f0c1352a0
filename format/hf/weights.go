package hf

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"thimble/format/export"
	"thimble/internal/qtensor"
)

var le = binary.LittleEndian

// encode returns v as JSON with keys in order.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(reals(v))
	return b.Bytes(), err
}

// A real is a number that JSON has with a point, so that Python reads a float.
type real float64

// MarshalJSON implements json.Marshaler.
func (x real) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(x), 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

// reals returns v with a real for each float64 in it.
func reals(v any) any {
	switch v := v.(type) {
	case float64:
		return real(v)
	case []float64:
		all := make([]real, len(v))
		for i, x := range v {
			all[i] = real(x)
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for key, x := range v {
			all[key] = reals(x)
		}
		return all
	}
	return v
}

// weights returns the part model.safetensors: the length of a header, the header, which is
// JSON with the place of each tensor, and the tensors.
// https://github.com/huggingface/safetensors#format
func (p *plan) weights() (export.Part, error) {
	header := map[string]any{"__metadata__": p.metadata()}
	at := int64(0)
	for _, t := range p.tensors {
		for _, e := range t.entries {
			header[e.name] = map[string]any{"dtype": e.dtype, "shape": e.shape, "data_offsets": []int64{at, at + e.bytes}}
			at += e.bytes
		}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return export.Part{}, err
	}
	text = append(text, strings.Repeat(" ", (8-len(text)%8)%8)...)
	front := append(le.AppendUint64(nil, uint64(len(text))), text...)
	return export.Part{Name: "model.safetensors", Bytes: int64(len(front)) + at, Body: func(ctx context.Context, w io.Writer) error {
		if _, err := w.Write(front); err != nil {
			return err
		}
		for i := range p.tensors {
			if err := p.write(ctx, w, &p.tensors[i]); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// metadata returns the texts of the file's header: what transformers and mlx require, and
// where the model came from.
func (p *plan) metadata() map[string]string {
	v := &p.m.Provenance
	text := map[string]string{"format": p.exporter.form.pt, "thimble.tool": v.Tool, "thimble.architecture": v.Architecture, "thimble.recipe": v.Recipe}
	var sources []string
	for _, s := range v.Sources {
		sources = append(sources, fmt.Sprintf("%s %d %s", hex.EncodeToString(s.SHA256), s.Bytes, s.Name))
	}
	text["thimble.sources"] = strings.Join(sources, "\n")
	for key, value := range text {
		if value == "" {
			delete(text, key)
		}
	}
	return text
}

// writeFloats writes the values of x as a float type, rounded to nearest if they do not fit it.
func writeFloats(w io.Writer, x *qtensor.Matrix, kind qtensor.Kind) error {
	var reader qtensor.Reader
	if x.Scheme.Kind == kind {
		for r := range x.Rows {
			if _, err := w.Write(reader.Stored(x, r)); err != nil {
				return err
			}
		}
		return nil
	}
	row := make([]float32, x.Cols)
	out, err := qtensor.New(qtensor.Scheme{Kind: kind}, 1, x.Cols)
	if err != nil {
		return err
	}
	for r := range x.Rows {
		reader.Row(row, x, r)
		if err := out.SetFloats(0, row); err != nil {
			return err
		}
		if _, err := w.Write(out.Codes); err != nil {
			return err
		}
	}
	return nil
}
