package quantize

import (
	"encoding/binary"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
	"thimble/internal/journal"
	"thimble/internal/model"
	"thimble/internal/qtensor"
)

// Arithmetic stands for the bits that calibration computes: the hash of what
// TestCalibratedBytesAreTheSameEverywhere stores, which changes with them. What an
// earlier program has left unfinished can be gone on with if it is the same.
const Arithmetic = "4f6033a7173a3417"

// A Journal is a file in which a calibrated run keeps what it has finished.
type Journal = journal.Journal

var (
	NewJournal  = journal.New
	OpenJournal = journal.Open
)

// A calibrated run finishes its parts one after the other: the embedding if it is
// tied, the blocks in the order in which they run, an untied head. A part's number
// is that of blockOf. As soon as one is finished its matrices go to
// Calibration.Journal. Another run finds them there and only takes the texts
// through them: what is seen behind is the same to the bit, so the rest is, too.

// A part is what a record of a journal begins with, in CBOR behind its length in 4
// bytes. Behind it are codes, scales and minimums of the part's matrices that were
// rounded, in the plan's order.
type part struct {
	Part   int         `cbor:"part"`
	Inputs []seenInput `cbor:"inputs"` // for Health
}

var (
	partEncoding = func() cbor.EncMode {
		m, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			panic(err) // the options contradict each other
		}
		return m
	}()
	partDecoding = func() cbor.DecMode {
		m, err := cbor.DecOptions{
			DupMapKey: cbor.DupMapKeyEnforcedAPF, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
			IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
			MaxNestedLevels: 5, MaxArrayElements: 64, MaxMapPairs: 16,
		}.DecMode()
		if err != nil {
			panic(err)
		}
		return m
	}()
)

// Finished returns how many blocks, and weights of all parts, j has of p. An error
// names what does not belong to p.
func (p *Plan) Finished(j *Journal) (blocks int, weights int64, err error) {
	for i := range j.Records() {
		at, _, err := p.finished(j, i)
		if err != nil {
			return 0, 0, err
		}
		if at.Part >= 0 && at.Part < model.MaxBlocks {
			blocks++
		}
		for _, e := range p.rounded(at.Part) {
			weights += int64(e.Rows) * int64(e.Cols)
		}
	}
	return blocks, weights, nil
}

// rounded are the entries of a part that become integers.
func (p *Plan) rounded(at int) (all []*Entry) {
	for i := range p.Tensors {
		if e := &p.Tensors[i]; blockOf(e.Name) == at && e.rounds() {
			all = append(all, e)
		}
	}
	return all
}

// finished reads record i of j. The matrices alias it.
func (p *Plan) finished(j *Journal, i int) (at part, matrices []*qtensor.Matrix, err error) {
	fault := func(format string, args ...any) (part, []*qtensor.Matrix, error) {
		return at, nil, defect.Corrupt(j.Path(), fmt.Sprintf("record %d", i+1), format, args...)
	}
	r := j.Records()[i]
	if len(r) < 4 || uint64(binary.LittleEndian.Uint32(r)) > uint64(len(r)-4) {
		return fault("has no part")
	}
	n := 4 + int(binary.LittleEndian.Uint32(r))
	if err := partDecoding.Unmarshal(r[4:n], &at); err != nil {
		return fault("%s", defect.Printable(err.Error()))
	}
	planes := r[n:]
	for _, e := range p.rounded(at.Part) {
		m := &qtensor.Matrix{Scheme: e.To, Rows: e.Rows, Cols: e.Cols}
		codes, scales, mins, err := e.To.Sizes(e.Rows, e.Cols)
		if err != nil || int64(len(planes)) < codes+scales+mins {
			return fault("ends in %s", e.Name)
		}
		m.Codes, planes = planes[:codes:codes], planes[codes:]
		m.Scales, planes = planes[:scales:scales], planes[scales:]
		m.Mins, planes = planes[:mins:mins], planes[mins:]
		for _, half := range [][]byte{m.Scales, m.Mins} {
			for c := 1; c < len(half); c += 2 {
				if half[c]&0x7c == 0x7c {
					return fault("%s has a scale that is not finite", e.Name)
				}
			}
		}
		matrices = append(matrices, m)
	}
	if len(matrices) == 0 || len(planes) > 0 {
		return fault("is not what the plan makes of part %d", at.Part)
	}
	return at, matrices, nil
}

// restore takes the matrices of a part from the journal, and stores the others of
// a block. It reports whether they are there.
func (r *calibrated) restore(number int) (bool, error) {
	if r.restored == len(r.c.Journal.Records()) || len(r.p.rounded(number)) == 0 {
		return false, nil
	}
	at, matrices, err := r.p.finished(r.c.Journal, r.restored)
	if err != nil {
		return false, err
	}
	if at.Part != number {
		return false, defect.Corrupt(r.c.Journal.Path(), fmt.Sprintf("record %d", r.restored+1), "is part %d, want %d", at.Part, number)
	}
	r.restored++
	for i, e := range r.p.rounded(number) {
		r.set(e.Name, matrices[i])
	}
	for _, in := range at.Inputs {
		r.health.see(number, in)
	}
	if number < 0 || number >= model.MaxBlocks {
		return true, nil
	}
	for i := range r.p.Tensors { // vectors are stored already
		if e := &r.p.Tensors[i]; blockOf(e.Name) == number && !e.rounds() && e.Role != model.Vector {
			if err := r.keep(e.Name); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// spent fails if the journal has more than there is to restore.
func (r *calibrated) spent() error {
	if r.restored >= len(r.c.Journal.Records()) {
		return nil
	}
	at, _, err := r.p.finished(r.c.Journal, r.restored)
	if err == nil {
		err = defect.Corrupt(r.c.Journal.Path(), fmt.Sprintf("record %d", r.restored+1), "is part %d, want none", at.Part)
	}
	return err
}

// record gives a part that was quantized to the journal.
func (r *calibrated) record(number int) error {
	seen := r.seen
	r.seen = nil
	entries := r.p.rounded(number)
	if r.c.Journal == nil || len(entries) == 0 {
		return nil
	}
	head, err := partEncoding.Marshal(part{number, seen})
	if err != nil {
		return err
	}
	parts := [][]byte{binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head}
	for _, e := range entries {
		planes := r.out[e.Name].Planes()
		parts = append(parts, planes[:]...)
	}
	return r.c.Journal.Append(parts...)
}

// once quantizes a part unless an earlier run has.
func (r *calibrated) once(number int, quantize func() error) error {
	if done, err := r.restore(number); done || err != nil {
		return err
	}
	if err := quantize(); err != nil {
		return err
	}
	return r.record(number)
}

// pass takes the texts past the block of a step that runs so many times from there
// on, and quantizes it if that was not done before.
func (r *calibrated) pass(step, runs int) error {
	b := r.m.Spec.Schedule[step]
	through := false
	if !r.known[b] {
		r.known[b] = true
		err := r.once(b, func() error { through = true; return r.block(step, runs) })
		if through || err != nil {
			return err
		}
	}
	return r.runSteps(r.ctx, runs)
}
