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
	"thimble/internal/safetensors"
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

// The names of the files of weights: one file, or shards and their index.
const (
	weightsFile = "model.safetensors"
	shardFile   = "model-%05d-of-%05d.safetensors"
	indexFile   = "model.safetensors.index.json"
)

// weights returns the files of weights. If the tensors take more than the size of a shard, they
// are divided in their order, as transformers does, and an index says which file has each.
func (p *plan) weights() ([]export.Part, error) {
	shards := p.shards()
	if len(shards) == 1 {
		part, err := p.shard(weightsFile, shards[0])
		return []export.Part{part}, err
	}
	if len(shards) > maxShards {
		return nil, fmt.Errorf("--shard-size: %d files of weights are too many, want at most %d; use a larger size", len(shards), maxShards)
	}
	var parts []export.Part
	size, weights, files := int64(0), int64(0), map[string]any{}
	for i, tensors := range shards {
		name := fmt.Sprintf(shardFile, i+1, len(shards))
		part, err := p.shard(name, tensors)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		for _, t := range tensors {
			size += t.Bytes
			weights += int64(t.Rows) * int64(t.Cols)
			for _, e := range t.entries {
				files[e.Name] = name
			}
		}
	}
	index, err := encode(map[string]any{"metadata": map[string]any{"total_parameters": weights, "total_size": size}, "weight_map": files})
	return append(parts, export.Text(indexFile, index)), err
}

// maxShards is the largest number of files: their names have five digits.
const maxShards = 99999

// shards divides the tensors by the size of a shard. A larger tensor has a shard of its own.
func (p *plan) shards() (all [][]tensor) {
	size, start := int64(0), 0
	for i, t := range p.tensors {
		if size += t.Bytes; i > start && size > p.options.ShardBytes() {
			all, start, size = append(all, p.tensors[start:i]), i, t.Bytes
		}
	}
	return append(all, p.tensors[start:])
}

// shard returns a file of weights.
func (p *plan) shard(name string, tensors []tensor) (export.Part, error) {
	var entries []safetensors.Tensor
	bytes := int64(0)
	for _, t := range tensors {
		entries = append(entries, t.entries...)
		bytes += t.Bytes
	}
	front, err := safetensors.Header(p.metadata(), entries)
	if err != nil {
		return export.Part{}, fmt.Errorf("%s: %w", name, err)
	}
	return export.Part{Name: name, Bytes: int64(len(front)) + bytes, Body: func(ctx context.Context, w io.Writer) error {
		if _, err := w.Write(front); err != nil {
			return err
		}
		for i := range tensors {
			if err := p.write(ctx, w, &tensors[i]); err != nil {
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
