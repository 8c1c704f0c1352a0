package diff

import (
	"math"
	"strings"
	"testing"

	"thimble/internal/qtensor"
)

func matrixOf(t *testing.T, scheme string, cols int, values ...float32) *qtensor.Matrix {
	t.Helper()
	s, err := qtensor.ParseScheme(scheme)
	if err != nil {
		t.Fatal(err)
	}
	m, err := qtensor.New(s, len(values)/cols, cols)
	if err != nil {
		t.Fatal(err)
	}
	for r := range m.Rows {
		if err := m.SetFloats(r, values[r*cols:][:cols]); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestCompareTensor(t *testing.T) {
	// A row of 40 columns has two groups; the values are exact in bfloat16.
	a, b := make([]float32, 80), make([]float32, 80)
	for i := range a {
		a[i] = float32(i%7) - 3
		b[i] = a[i]
	}
	b[3], b[4], b[79] = b[3]+1, b[4]-2, b[79]+0.5
	squares := 0.0
	for _, v := range a {
		squares += float64(v) * float64(v)
	}
	d, err := compareTensor(t.Context(), "x", matrixOf(t, "f32", 40, a...), matrixOf(t, "bf16", 40, b...), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := 5.25 / squares; math.Abs(float64(d.NMSE)-want) > 1e-15 || d.MaxAbs != 2 || d.Groups != 4 || d.Changed != 2 || d.Stored || !d.differs() {
		t.Errorf("%+v, want NMSE %v", d, want)
	}
	for _, c := range []struct {
		a, b                       *qtensor.Matrix
		nmse                       float64
		differs, known, comparable bool
	}{
		{matrixOf(t, "f32", 2, 1, 2), matrixOf(t, "f32", 2, 1, 2), 0, false, true, true},
		{matrixOf(t, "f32", 2, 1, 2), matrixOf(t, "f16", 2, 1, 2), 0, false, true, true}, // without loss
		{matrixOf(t, "f32", 2, 0, 0), matrixOf(t, "f32", 2, 0, 1), 0, true, false, true},
		{matrixOf(t, "f32", 2, 0, 0), matrixOf(t, "f32", 2, 0, 0), 0, false, true, true},
		{matrixOf(t, "f32", 2, 1, 2), matrixOf(t, "f32", 1, 1, 2), 0, true, false, false},
		{nil, matrixOf(t, "f32", 2, 1, 2), 0, true, false, false},
		{matrixOf(t, "f32", 2, 1, 2), nil, 0, true, false, false},
	} {
		d, err := compareTensor(t.Context(), "x", c.a, c.b, nil, nil, nil)
		if err != nil || d.differs() != c.differs || d.NMSE.Known() != c.known || c.known && float64(d.NMSE) != c.nmse || d.incomparable() == c.comparable {
			t.Errorf("%v: %+v", err, d)
		}
		if r := Text(&Report{Tensors: []Tensor{d}}, true); !strings.Contains(r, "\n  x ") {
			t.Errorf("x is not listed in %s", r)
		}
	}
	inf := matrixOf(t, "f32", 2, 1, float32(math.Inf(1)))
	if _, err := compareTensor(t.Context(), "x", inf, inf, nil, nil, nil); err == nil || err.Error() != "x: row 0, column 1: +Inf and +Inf cannot be compared" {
		t.Error(err)
	}
}

// A rotated tensor counts only if it is the more similar one, on either side.
func TestRotated(t *testing.T) {
	a, near, far := matrixOf(t, "f32", 2, 3, 4), matrixOf(t, "f32", 2, 3, 5), matrixOf(t, "f32", 2, -5, 0)
	for _, c := range []struct {
		b, rotatedA, rotatedB *qtensor.Matrix
		nmse                  float64
		rotated               bool
	}{
		{far, matrixOf(t, "f32", 2, -5, 1), nil, 1.0 / 26, true}, // the reference is the rotated A
		{far, nil, near, 1.0 / 25, true},
		{near, far, nil, 1.0 / 25, false},
		{a, a, nil, 0, false},
	} {
		d, err := compareTensor(t.Context(), "x", a, c.b, nil, c.rotatedA, c.rotatedB)
		if err != nil || math.Abs(float64(d.NMSE)-c.nmse) > 1e-15 || d.Rotated != c.rotated {
			t.Errorf("%v: %+v, want NMSE %v", err, d, c.nmse)
		}
		if text := Text(&Report{Tensors: []Tensor{d}}, true); strings.Contains(text, " *") != c.rotated {
			t.Errorf("rotated is %t in\n%s", c.rotated, text)
		}
	}
}

// A field takes one line without control characters.
func TestFieldText(t *testing.T) {
	for in, want := range map[string]string{"": "-", "a\nb\x1b[2J": "a b [2J", strings.Repeat("é", 60): strings.Repeat("é", 55) + "..."} {
		if got := shorten(in, 58); got != want {
			t.Errorf("shorten(%q) = %q, want %q", in, got, want)
		}
	}
}
