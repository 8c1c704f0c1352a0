package quantize

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"thimble/internal/defect"
	"thimble/internal/journal"
	"thimble/internal/model"
)

// Arithmetic is the version of the bits that a calibrated run computes. Any change of them
// increases it, and a run must not continue an unfinished run of another version.
const Arithmetic = 6

// A Journal is a file in which a calibrated run stores the finished parts of the model.
type Journal = journal.Journal

// A calibrated run finishes the parts of a model one after the other: a tied embedding, the
// blocks in the order in which they run, an untied head. It appends the matrices of each
// finished part to Calibration.Journal. A run that finds them there only runs the texts
// through them: the inputs of the next part are then the same to the bit, and so is
// everything after.
//
// The number of a part is its block's, or one of these two.
const (
	beforeBlocks = -1
	afterBlocks  = model.MaxBlocks
)

func isBlock(part int) bool { return part >= 0 && part < model.MaxBlocks }

// partOf returns the part to which the tensor name belongs.
func partOf(name string) int {
	if b, _, ok := model.SplitName(name); ok {
		return b
	}
	if name == model.Embed || name == model.LayerEmbed {
		return beforeBlocks
	}
	return afterBlocks
}

// A partRecord is the start of a journal's record: its length in 4 bytes, then the
// partRecord in CBOR. Codes, scales and minimums of the part's rounded matrices follow, in
// the plan's order.
type partRecord struct {
	Part   int           `cbor:"part"`
	Inputs []observation `cbor:"inputs"` // for Health
}

var (
	recordEncoding = func() cbor.EncMode {
		m, err := cbor.CoreDetEncOptions().EncMode()
		if err != nil {
			panic(err) // the options contradict each other
		}
		return m
	}()
	recordDecoding = func() cbor.DecMode {
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

// Finished returns the number of blocks of p in the journal j, and the number of weights of
// all parts. The error names a record that does not belong to p.
func (p *Plan) Finished(j *Journal) (blocks int, weights int64, err error) {
	for i, content := range j.Records() {
		record, _, err := p.readRecord(content)
		if err != nil {
			return 0, 0, corruptRecord(j, i, "%v", err)
		}
		if isBlock(record.Part) {
			blocks++
		}
		for _, e := range p.roundedIn(record.Part) {
			weights += int64(e.Rows) * int64(e.Cols)
		}
	}
	return blocks, weights, nil
}

// corruptRecord returns an error about a journal's record i.
func corruptRecord(j *Journal, i int, format string, args ...any) error {
	return defect.Corrupt(j.Path(), fmt.Sprintf("record %d", i+1), format, args...)
}

// roundedIn returns the entries of a part that the plan rounds to integers.
func (p *Plan) roundedIn(part int) (entries []*Entry) {
	for i := range p.Tensors {
		if e := &p.Tensors[i]; partOf(e.Name) == part && e.rounds() {
			entries = append(entries, e)
		}
	}
	return entries
}

// readRecord reads a record and checks it against p. The matrices alias content.
func (p *Plan) readRecord(content []byte) (record partRecord, matrices []*Matrix, err error) {
	if len(content) < 4 || uint64(binary.LittleEndian.Uint32(content)) > uint64(len(content)-4) {
		return record, nil, errors.New("has no part")
	}
	n := 4 + int(binary.LittleEndian.Uint32(content))
	if err := recordDecoding.Unmarshal(content[4:n], &record); err != nil {
		return record, nil, errors.New(defect.Printable(err.Error()))
	}
	planes := content[n:]
	for _, e := range p.roundedIn(record.Part) {
		var m *Matrix
		if m, planes, err = e.cut(planes); err != nil {
			return record, nil, err
		}
		matrices = append(matrices, m)
	}
	if len(matrices) == 0 || len(planes) > 0 {
		return record, nil, fmt.Errorf("does not have the matrices of the plan for part %d", record.Part)
	}
	return record, matrices, nil
}

// cut returns e's matrix, from the start of planes, and the rest of planes.
func (e *Entry) cut(planes []byte) (m *Matrix, rest []byte, err error) {
	codes, scales, mins, err := e.To.Sizes(e.Rows, e.Cols)
	if err != nil || int64(len(planes)) < codes+scales+mins {
		return nil, nil, fmt.Errorf("ends in %s", e.Name)
	}
	m = &Matrix{Scheme: e.To.InMemory(), Rows: e.Rows, Cols: e.Cols}
	m.Codes, planes = planes[:codes:codes], planes[codes:]
	m.Scales, planes = planes[:scales:scales], planes[scales:]
	m.Mins, planes = planes[:mins:mins], planes[mins:]
	for _, plane := range [][]byte{m.Scales, m.Mins} {
		for i := 1; i < len(plane); i += 2 {
			if plane[i]&0x7c == 0x7c { // the exponent of a float16, all ones
				return nil, nil, fmt.Errorf("%s has a scale that is not finite", e.Name)
			}
		}
	}
	return m, planes, nil
}

// once restores a part that the journal has. It quantizes any other part, and records it.
func (r *calibratedRun) once(part int, quantize func() error) error {
	if done, err := r.restore(part); done || err != nil {
		return err
	}
	if err := quantize(); err != nil {
		return err
	}
	return r.record(part)
}

// restore reads the journal's next record: it sets the part's matrices and stores its other
// tensors. It returns false if the journal has no record of the part.
func (r *calibratedRun) restore(part int) (bool, error) {
	j := r.c.Journal
	if r.restored == len(j.Records()) || len(r.p.roundedIn(part)) == 0 {
		return false, nil
	}
	record, matrices, err := r.p.readRecord(j.Records()[r.restored])
	if err != nil {
		return false, corruptRecord(j, r.restored, "%v", err)
	}
	if record.Part != part {
		return false, corruptRecord(j, r.restored, "is part %d, want %d", record.Part, part)
	}
	r.restored++
	for i, e := range r.p.roundedIn(part) {
		if err := r.account(e, matrices[i]); err != nil {
			return true, err
		}
		r.set(e.Name, matrices[i])
	}
	for _, seen := range record.Inputs {
		r.c.Health.add(part, seen)
	}
	if !isBlock(part) {
		return true, nil
	}
	for i := range r.p.Tensors { // vectors are stored already
		if e := &r.p.Tensors[i]; partOf(e.Name) == part && !e.rounds() && e.Role != model.Vector {
			if err := r.keep(e.Name); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// record appends a quantized part to the journal.
func (r *calibratedRun) record(part int) error {
	seen := r.seen
	r.seen = nil
	entries := r.p.roundedIn(part)
	if r.c.Journal == nil || len(entries) == 0 {
		return nil
	}
	head, err := recordEncoding.Marshal(partRecord{part, seen})
	if err != nil {
		return err
	}
	content := [][]byte{binary.LittleEndian.AppendUint32(nil, uint32(len(head))), head}
	for _, e := range entries {
		planes := r.out[e.Name].Planes()
		content = append(content, planes[:]...)
	}
	return r.c.Journal.Append(content...)
}

// journalSpent returns an error if the journal has more records than the run has parts.
func (r *calibratedRun) journalSpent() error {
	j := r.c.Journal
	if r.restored >= len(j.Records()) {
		return nil
	}
	record, _, err := r.p.readRecord(j.Records()[r.restored])
	if err != nil {
		return corruptRecord(j, r.restored, "%v", err)
	}
	return corruptRecord(j, r.restored, "is part %d, want none", record.Part)
}
