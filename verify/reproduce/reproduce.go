// Package reproduce compares a model with what its recipe made again: by the SHA-256 of each
// tensor, and what may explain a difference.
package reproduce

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"

	"thimble/internal/defect"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/internal/qtensor"
	"thimble/verify/diff"
)

// A Report says whether a model is what its recipe makes.
type Report struct {
	Model     string `json:"model"`     // path
	From      string `json:"from"`      // path of what it was made from again
	Identical bool   `json:"identical"` // spec, tokenizer, sampling and every tensor are the same

	// Recorded and Made are the SHA-256 of the header of a container, or of another file. They
	// also cover the provenance and gates.
	Recorded string `json:"sha256"`
	Made     string `json:"made_sha256"`

	Tensors   int     `json:"tensors"`
	Different int     `json:"different"`       // tensors
	First     *Tensor `json:"first,omitempty"` // the first of them, in the order of the file

	Metadata   []diff.Field `json:"metadata"`         // what differs in the model; A is recorded, B made again
	Provenance []diff.Field `json:"provenance"`       // likewise
	Causes     []string     `json:"causes,omitempty"` // what may explain the difference
}

// A Tensor is one that differs.
type Tensor struct {
	Name     string `json:"name"`
	Recorded Stored `json:"recorded"`
	Made     Stored `json:"made"`
}

// Stored is how a model stores a tensor; empty if it lacks the tensor.
type Stored struct {
	Scheme string `json:"scheme,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of codes, scales and mins, as in docs/FORMAT.md
}

// Compare compares recorded with made. Both must have passed Check and, if they have
// digests, Verify. The caller sets Model, From, Recorded and Made. progress may be nil; it is called with
// tensors, from several goroutines at once.
func Compare(ctx context.Context, recorded, made *model.Model, progress func(done, total int64)) (*Report, error) {
	r := &Report{}
	var err error
	if r.Metadata, r.Provenance, err = diff.Fields(recorded, made); err != nil {
		return nil, err
	}
	if a, b := recorded.Generation, made.Generation; a != b {
		r.Metadata = append(r.Metadata, diff.Field{Field: "generation", A: a.String(), B: b.String()})
	}
	slots := recorded.Spec.Slots()
	r.Tensors = len(slots)
	pairs := make([]Tensor, len(slots))
	var done atomic.Int64
	err = parallel.Do(ctx, len(slots), func(_, i int) error {
		name := slots[i].Name
		pairs[i] = Tensor{name, storedOf(recorded.Tensors[name]), storedOf(made.Tensors[name])}
		if n := done.Add(1); progress != nil {
			progress(n, int64(len(slots)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range pairs {
		if p := &pairs[i]; p.Recorded != p.Made {
			if r.Different++; r.First == nil {
				r.First = p
			}
		}
	}
	r.Identical = r.Different == 0 && len(r.Metadata) == 0
	if !r.Identical {
		r.Causes = causes(r.Provenance)
	}
	return r, nil
}

func storedOf(m *qtensor.Matrix) Stored {
	if m == nil {
		return Stored{}
	}
	h := sha256.New()
	if m.Source != nil {
		var read qtensor.Reader
		for row := range m.Rows {
			h.Write(read.Stored(m, row))
		}
	}
	for _, plane := range m.Planes() {
		h.Write(plane)
	}
	return Stored{m.Scheme.String(), hex.EncodeToString(h.Sum(nil))}
}

// causes says what in the provenance may explain why models differ.
func causes(provenance []diff.Field) (all []string) {
	for _, f := range provenance {
		a, b := shown(f.A), shown(f.B)
		switch name, isSource := strings.CutPrefix(f.Field, "source "); {
		case isSource && f.B == "":
			all = append(all, fmt.Sprintf("%s was a source (%s), and is none now", defect.Printable(name), a))
		case isSource && f.A == "":
			all = append(all, fmt.Sprintf("%s is a source now (%s), and was none", defect.Printable(name), b))
		case isSource:
			all = append(all, fmt.Sprintf("%s is another file: it had %s, and has %s", defect.Printable(name), a, b))
		case f.Field == "tool":
			all = append(all, fmt.Sprintf("%s made the model, and this is %s", a, b))
		default:
			all = append(all, fmt.Sprintf("%s: was %s, is %s", f.Field, a, b))
		}
	}
	if all == nil {
		all = []string{"none known: the sources, the texts, the recipe and the version of thimble are those that the model records, so it was changed after it was made, or was made on a defective machine or by a defective build"}
	}
	return all
}

// shown returns the first lines of a value in one line.
func shown(value string) string {
	if value == "" {
		return "absent"
	}
	return defect.Printable(strings.ReplaceAll(strings.TrimSpace(value), "\n", "; "))
}
