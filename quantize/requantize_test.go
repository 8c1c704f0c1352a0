package quantize

import (
	"context"
	"testing"

	"thimble/convert"
	"thimble/internal/qtensor"
)

// Store rounds a matrix that is quantized already as it rounds a float32 copy of its
// values: to the same codes, and to float16 once per value.
func TestRequantizer(t *testing.T) {
	ctx := context.Background()
	m, err := convert.Open("../fixtures/trained", convert.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	const name = "blocks.3.up"
	odd, _ := qtensor.ParseScheme("int3/g64/asym")
	first, err := NewRequantizer(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := first.Store(ctx, name, odd)
	if err != nil {
		t.Fatal(err)
	}
	values, err := first.Store(ctx, name, qtensor.Scheme{Kind: qtensor.F32})
	if err != nil {
		t.Fatal(err)
	}
	var reader qtensor.Reader
	x := make([]float32, values.Cols)
	for r := range values.Rows {
		reader.Row(x, stored, r)
		if err := values.SetFloats(r, x); err != nil {
			t.Fatal(err)
		}
	}
	requantizer := func(w *qtensor.Matrix) *Requantizer {
		twin := *m
		twin.Tensors = map[string]*qtensor.Matrix{}
		for k, v := range m.Tensors {
			twin.Tensors[k] = v
		}
		twin.Tensors[name] = w
		q, err := NewRequantizer(ctx, &twin)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q, twin := requantizer(stored), requantizer(values)
	for _, text := range []string{"int4/g32/asym", "int8/g32", "f16"} {
		to, _ := qtensor.ParseScheme(text)
		got, err := q.Store(ctx, name, to)
		if err != nil {
			t.Fatal(err)
		}
		want, err := twin.Store(ctx, name, to)
		if err != nil {
			t.Fatal(err)
		}
		if got.Scheme != to || string(got.Codes) != string(want.Codes) || string(got.Scales) != string(want.Scales) || string(got.Mins) != string(want.Mins) {
			t.Errorf("%s: codes of a quantized matrix and of its values differ", text)
		}
		if again, err := q.Store(ctx, name, to); err != nil || string(again.Codes) != string(got.Codes) {
			t.Errorf("%s: two runs differ; %v", text, err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := q.Store(cancelled, name, qtensor.Scheme{Kind: qtensor.Int, Bits: 4, Group: 32}); err == nil {
		t.Error("a cancelled run gave a matrix")
	}
}
