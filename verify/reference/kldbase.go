package reference

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/logits"
	"thimble/internal/model"
	"thimble/internal/parallel"
	"thimble/verify/metric"
)

// llama.cpp's llama-perplexity writes and reads a base file with
// --kl-divergence-base (tools/perplexity/perplexity.cpp). All numbers are
// little-endian:
//
//	"_logits_"
//	context   int32               tokens in a chunk
//	vocab     int32
//	chunks    int32
//	tokens    int32 [chunks, context]
//	rows      [chunks, context-1-context/2, width(vocab)]
//
// There is a row for each of the positions context/2 to context-2, which are the ones
// that TextPrompts scores:
//
//	scale     float32
//	least     float32             the log of a probability
//	codes     uint16 [vocab]      log p = scale*code + least
//	padding   to a multiple of 4 bytes
//
// A log-probability more than 16 below the largest is stored as 16 below, with code 0.
const (
	kldBaseMagic    = "_logits_"
	kldBaseHeader   = len(kldBaseMagic) + 3*4
	kldBaseRange    = 16    // nats from the largest log-probability to least
	kldBaseCodes    = 65535 // the largest code
	kldBaseRowStart = 2 * 4 // bytes of a row before the codes
)

// kldBaseNote describes what a comparison with a base file leaves out.
const kldBaseNote = "the reference keeps log-probabilities in 16 bits and none further than 16 nats below the largest, " +
	"which kl_mean leaves out as llama.cpp does; max_abs and cosine_min need logits"

// kldBaseWidth returns the number of bytes in a row.
func kldBaseWidth(vocab int) int { return kldBaseRowStart + (vocab+1)/2*4 }

// readKLDBase reads the prompts from the bytes of a base file.
func (f *File) readKLDBase(data []byte) error {
	if len(data) < kldBaseHeader {
		return defect.Corrupt(f.path, "", "ends in its header, after %d bytes", len(data))
	}
	word := func(at int) int { return int(int32(binary.LittleEndian.Uint32(data[at:]))) }
	context, vocab, chunks := word(len(kldBaseMagic)), word(len(kldBaseMagic)+4), word(len(kldBaseMagic)+8)
	switch {
	case context < 3 || context > model.MaxLength:
		return defect.Corrupt(f.path, "n_ctx", "is %d, want 3 to %d", context, model.MaxLength)
	case vocab < 1 || vocab > model.MaxVocab:
		return defect.Corrupt(f.path, "n_vocab", "is %d, want 1 to %d", vocab, model.MaxVocab)
	case chunks < 1:
		return defect.Corrupt(f.path, "n_chunk", "is %d, want 1 or more", chunks)
	}
	from, to := context/2, context-1
	rows := int64(to-from) * int64(kldBaseWidth(vocab)) // bytes of a chunk's rows
	chunk := 4*int64(context) + rows
	if left := int64(len(data) - kldBaseHeader); left%chunk != 0 || left/chunk != int64(chunks) {
		return defect.Corrupt(f.path, "", "holds %.4g chunks of %d tokens, the header says %d: was writing it interrupted?",
			float64(left)/float64(chunk), context, chunks)
	}
	f.form, f.startsText, f.prompts = Form{Vocab: vocab, Note: kldBaseNote}, true, make([]filePrompt, chunks)
	tokens, coded := data[kldBaseHeader:], data[kldBaseHeader+4*context*chunks:]
	for n := range f.prompts {
		p := Prompt{IDs: make([]int, context), From: from, To: to}
		for t := range p.IDs {
			id := int(int32(binary.LittleEndian.Uint32(tokens[4*(n*context+t):])))
			if id < 0 || id >= vocab {
				return defect.Corrupt(f.path, "tokens", "token id %d at position %d of chunk %d is outside the vocabulary of %d", id, t, n, vocab)
			}
			p.IDs[t] = id
		}
		f.prompts[n] = filePrompt{Prompt: p, Distribution: &kldBasePrompt{f.path, n, vocab, from, to, coded[int64(n)*rows:][:rows]}}
	}
	return nil
}

// StartWith replaces the first token of each prompt of a base file by bos, the token
// that starts texts. A base file stores the text without that token, and llama.cpp does
// the same whenever it reads one. StartWith changes no other kind of file, and nothing
// if bos is -1.
func (f *File) StartWith(bos int) {
	if !f.startsText || bos < 0 {
		return
	}
	for i := range f.prompts {
		f.prompts[i].IDs[0] = bos
	}
}

// kldBasePrompt is the Distribution of a prompt of a base file.
type kldBasePrompt struct {
	path     string
	n        int // number of the prompt
	vocab    int
	from, to int    // the positions that have a row
	coded    []byte // the rows
}

// Load does nothing: Compare reads the mapped file.
func (p *kldBasePrompt) Load(context.Context, int, int) error { return nil }

// Compare scores position t against a row of a base file. In a row that was cut off, a
// code of 0 stands for an unknown probability below 1.2e-7 of the largest. Compare
// leaves those tokens out and scales the other probabilities to sum to 1.
func (p *kldBasePrompt) Compare(s *Scratch, t int, got []float32, next int) (metric.Score, error) {
	score := metric.Unmeasured()
	if err := logits.Finite("model", got); err != nil {
		return score, err
	}
	if t < p.from || t >= p.to {
		return score, fmt.Errorf("%s: holds positions %d to %d of each chunk, not %d", defect.Printable(p.path), p.from, p.to-1, t)
	}
	width := kldBaseWidth(p.vocab)
	row := p.coded[(t-p.from)*width:][:width]
	s.exp = grow(s.exp, p.vocab)
	logP := s.exp // of the reference
	best, cut, err := p.widen(logP, row)
	if err != nil {
		return score, p.corrupt(t, "%v", err)
	}
	lseGot := logits.LogSumExp(got, nil)
	var sum, kl float64
	for id, l := range logP {
		if !(l > cut) {
			continue
		}
		prob := kernel.Exp64(l)
		sum += prob
		kl += float64(prob * (l - (float64(got[id]) - lseGot)))
	}
	// Codes are off by at most half a step of 16/65535. The tokens that were cut off
	// have more than a few percent only if they are most of a very large vocabulary.
	if !(sum > 0.9 && sum < 1.001) {
		return score, p.corrupt(t, "all tokens together have a probability of %.4g", sum)
	}
	lse := kernel.Log64(sum)
	score.KL = max(0, kl/sum-lse)
	choice := metric.Candidate{ID: logits.Argmax(got)}
	choice.LogP = logP[choice.ID] - lse
	if !(logP[choice.ID] > cut) {
		choice.LogP = math.NaN()
	}
	score.Top1 = logP[choice.ID] == logP[best]
	score.Choose(got, lseGot, metric.Candidate{ID: best, LogP: logP[best] - lse}, choice)
	score.Logits = metric.MomentsOf(got)
	if next >= 0 {
		score.NLL = lseGot - float64(got[next])
		score.RefNLL = lse - logP[next]
	}
	return score, nil
}

// widen writes a row's log-probabilities to dst. It returns the index of the largest one
// (the first, if several are equal), and the value up to which they are unknown.
func (p *kldBasePrompt) widen(dst []float64, row []byte) (best int, cut float64, err error) {
	var scale, least float64
	err = parallel.Guard(func() error {
		scale = float64(math.Float32frombits(binary.LittleEndian.Uint32(row)))
		least = float64(math.Float32frombits(binary.LittleEndian.Uint32(row[4:])))
		for i := range dst {
			dst[i] = float64(scale*float64(binary.LittleEndian.Uint16(row[kldBaseRowStart+2*i:]))) + least
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if !logits.IsFinite(scale) || !logits.IsFinite(least) || scale < 0 {
		return 0, 0, fmt.Errorf("the scale is %v and the least log-probability %v", scale, least)
	}
	for i, v := range dst {
		if v > dst[best] {
			best = i
		}
	}
	cut = math.Inf(-1)
	if scale*kldBaseCodes > kldBaseRange-1e-3 {
		cut = least
	}
	return best, cut, nil
}

func (p *kldBasePrompt) corrupt(t int, format string, args ...any) error {
	return defect.Corrupt(p.path, fmt.Sprintf("chunk %d", p.n), "position %d: "+format, append([]any{t}, args...)...)
}

// kldBaseEncoding writes a base file.
type kldBaseEncoding struct{ out []byte }

func (e *kldBaseEncoding) rows(ctx context.Context, rows []float32, n int) ([]byte, error) {
	vocab, width := len(rows)/n, kldBaseWidth(len(rows)/n)
	e.out = grow(e.out, n*width)
	err := parallel.Do(ctx, n, func(_, t int) error {
		appendKLDBaseRow(e.out[t*width:t*width:(t+1)*width], rows[t*vocab:][:vocab])
		return nil
	})
	return e.out, err
}

func (e *kldBaseEncoding) begin(*Prompt) {}

// appendKLDBaseRow appends a row of a base file.
func appendKLDBaseRow(b []byte, row []float32) []byte {
	high := row[logits.Argmax(row)]
	low := high
	for _, v := range row {
		low = min(low, v)
	}
	least := max(low-high, -kldBaseRange) // below the largest
	scale := -least / kldBaseCodes
	lse := float32(logits.LogSumExp(row, nil) - float64(high))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(scale))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(least-lse))
	inverse := 1 / scale
	for _, v := range row {
		code := uint16(0)
		// A scale whose inverse is infinite cannot distinguish any two logits.
		if d := v - high; d > least && logits.IsFinite(float64(inverse)) {
			code = uint16(min(kldBaseCodes, math.RoundToEven(float64(float32((d-least)*inverse)))))
		}
		b = binary.LittleEndian.AppendUint16(b, code)
	}
	if len(row)%2 != 0 {
		b = append(b, 0, 0)
	}
	return b
}

// kldBaseHead returns the header and tokens of a base file, and the size in bytes of the
// rows that follow. Prompts must be as TextPrompts makes them.
func kldBaseHead(prompts []Prompt, vocab int) (head []byte, size int64, err error) {
	context := len(prompts[0].IDs)
	for i, p := range prompts {
		if len(p.IDs) != context || p.From != context/2 || p.To != context-1 {
			return nil, 0, fmt.Errorf("prompt %d: a base file holds chunks of one length, each scored in its second half", i)
		}
	}
	head = append(head, kldBaseMagic...)
	for _, n := range []int{context, vocab, len(prompts)} {
		head = binary.LittleEndian.AppendUint32(head, uint32(n))
	}
	for _, p := range prompts {
		for _, id := range p.IDs {
			head = binary.LittleEndian.AppendUint32(head, uint32(id))
		}
	}
	rows := int64(len(prompts)) * int64(prompts[0].To-prompts[0].From)
	return head, rows * int64(kldBaseWidth(vocab)), nil
}
