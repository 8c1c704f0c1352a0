// Package metric measures a model's next-token logits and summarizes the
// measurements of single positions over a text.
//
// Compare and Predict return the Score of one position, and Summarize the Summary
// of many. Bootstrap and MeanInterval compute how far a figure would move if other
// texts were scored. docs/NUMERICS.md defines every metric under its JSON name.
//
// Figures are float64 and have the same bits on every machine: sums run in a fixed
// order, every product is rounded before it is added to a sum (Go may otherwise
// fuse the two operations on some machines), and exp and log are those of package
// kernel.
package metric

import (
	"encoding/json"
	"math"
	"strconv"
)

// A Value is a measured number, or NaN if it was not measured. NaN is null in JSON.
type Value float64

// Unknown is the Value of a metric that was not measured.
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

// Short formats v for people: an integer in full, any other number with four
// significant digits, and an unknown value as a dash.
func (v Value) Short() string {
	switch {
	case !v.Known():
		return "-"
	case v > -1e9 && v < 1e9 && v == Value(int64(v)):
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(float64(v), 'g', 4, 64)
}
