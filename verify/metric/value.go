// Package metric says what is measured of a model's next-token logits, and how
// the figures of single positions become those of a text.
//
// Compare and Predict give the Score of one position, Summarize the Summary of
// many. Bootstrap and MeanInterval say how far a figure would move had other
// texts been scored. docs/NUMERICS.md defines every metric under its JSON name.
//
// Figures are float64 and have the same bits on every machine: sums run in a
// fixed order, every product that meets a sum is rounded first (Go may otherwise
// fuse the two on some machines), and exp and log are those of package kernel.
package metric

import (
	"encoding/json"
	"math"
	"strconv"
)

// A Value is a measured number, NaN if it was not measured. In JSON that is null.
type Value float64

// Unknown is the Value of what was not measured.
var Unknown = Value(math.NaN())

// Known reports whether v was measured.
func (v Value) Known() bool { return v == v }

// MarshalJSON writes the shortest number that reads back as v, or null.
func (v Value) MarshalJSON() ([]byte, error) {
	if !v.Known() {
		return []byte("null"), nil
	}
	return json.Marshal(float64(v))
}

// UnmarshalJSON reads a number or null.
func (v *Value) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*v = Unknown
		return nil
	}
	return json.Unmarshal(text, (*float64)(v))
}

// Short writes v for people: with four significant digits, in full if it is an
// integer, and as a dash if it is unknown.
func (v Value) Short() string {
	switch {
	case !v.Known():
		return "-"
	case v > -1e9 && v < 1e9 && v == Value(int64(v)):
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(float64(v), 'g', 4, 64)
}
