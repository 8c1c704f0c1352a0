package verify

import (
	"encoding/binary"
	"fmt"
	"math"

	"thimble/internal/defect"
	"thimble/internal/kernel"
	"thimble/internal/model"
	"thimble/internal/parallel"
)

// A base file is what llama.cpp's llama-perplexity writes and reads with
// --kl-divergence-base (tools/perplexity/perplexity.cpp), all little-endian:
//
//	"_logits_"
//	context   int32               tokens in a chunk
//	vocab     int32
//	chunks    int32
//	tokens    int32 [chunks, context]
//	rows      [chunks, context-1-context/2, width(vocab)]
//
// with a row for each of the positions context/2 to context-2, as TextPrompts
// scores them:
//
//	scale     float32
//	least     float32             the logarithm of a probability
//	codes     uint16 [vocab]      log p = scale*code + least
//	padding   to a multiple of 4 bytes
//
// Log-probabilities further than 16 below the largest are stored as if they were
// not; they have code 0.
const (
	baseMagic    = "_logits_"
	baseHeader   = len(baseMagic) + 3*4
	baseRange    = 16    // nats from the largest log-probability to least
	baseCodes    = 65535 // the largest code
	baseRowStart = 2 * 4 // bytes of a row before the codes
)

// baseWidth is the bytes of a row.
func baseWidth(vocab int) int { return baseRowStart + (vocab+1)/2*4 }

// readBase takes the prompts from the bytes of a base file.
func (r *Reference) readBase(data []byte) error {
	if len(data) < baseHeader {
		return defect.Corrupt(r.path, "", "ends in its header, after %d bytes", len(data))
	}
	word := func(at int) int { return int(int32(binary.LittleEndian.Uint32(data[at:]))) }
	context, vocab, chunks := word(len(baseMagic)), word(len(baseMagic)+4), word(len(baseMagic)+8)
	switch {
	case context < 3 || context > model.MaxLength:
		return defect.Corrupt(r.path, "n_ctx", "is %d, want 3 to %d", context, model.MaxLength)
	case vocab < 1 || vocab > model.MaxVocab:
		return defect.Corrupt(r.path, "n_vocab", "is %d, want 1 to %d", vocab, model.MaxVocab)
	case chunks < 1:
		return defect.Corrupt(r.path, "n_chunk", "is %d, want 1 or more", chunks)
	}
	from, to := context/2, context-1
	rows := int64(to-from) * int64(baseWidth(vocab)) // bytes of a chunk's
	chunk := 4*int64(context) + rows
	if left := int64(len(data) - baseHeader); left%chunk != 0 || left/chunk != int64(chunks) {
		return defect.Corrupt(r.path, "", "holds %.4g chunks of %d tokens, the header says %d: was writing it interrupted?",
			float64(left)/float64(chunk), context, chunks)
	}
	r.base, r.vocab, r.prompts = true, vocab, make([]recorded, chunks)
	tokens, coded := data[baseHeader:], data[baseHeader+4*context*chunks:]
	for n := range r.prompts {
		p := recorded{n: n, ids: make([]int, context), from: from, to: to, coded: coded[int64(n)*rows:][:rows]}
		for t := range p.ids {
			id := int(int32(binary.LittleEndian.Uint32(tokens[4*(n*context+t):])))
			if id < 0 || id >= vocab {
				return defect.Corrupt(r.path, "tokens", "token id %d at position %d of chunk %d is outside the vocabulary of %d", id, t, n, vocab)
			}
			p.ids[t] = id
		}
		r.prompts[n] = p
	}
	return nil
}

// StartWith puts the token that starts texts at the start of each prompt of a
// base file, which holds the text as it was cut: llama.cpp does so whenever it
// reads one. It changes no other file, and -1 stands for no such token.
func (r *Reference) StartWith(bos int) {
	if !r.base || bos < 0 {
		return
	}
	for i := range r.prompts {
		r.prompts[i].ids[0] = bos
	}
}

// baseNote says what the report of a base file leaves open.
const baseNote = "the reference keeps log-probabilities in 16 bits and none further than 16 nats below the largest, " +
	"which kl_mean leaves out as llama.cpp does; max_abs and cosine_min need logits"

// basePrompt is a prompt of a base file.
type basePrompt struct {
	*recorded
	path  string
	vocab int
}

// compare scores position t against the row of a base file. Codes of 0 in a row
// that was cut off stand for probabilities that are not known and below 1.2e-7
// of the largest: they are left out, and the others made to sum to 1.
func (p *basePrompt) compare(l *lane, t int, got []float32, next int) (score, error) {
	s := noScore()
	if err := finite("model", got); err != nil {
		return s, err
	}
	if t < p.from || t >= p.to {
		return s, fmt.Errorf("%s: holds positions %d to %d of each chunk, not %d", defect.Printable(p.path), p.from, p.to-1, t)
	}
	width := baseWidth(p.vocab)
	row := p.coded[(t-p.from)*width:][:width]
	l.exp = grow(l.exp, p.vocab) // log-probabilities of the reference
	best, cut, err := p.widen(l.exp, row)
	if err != nil {
		return s, p.corrupt(t, "%v", err)
	}
	lseGot := logSumExp(got, nil)
	var sum, kl float64
	for id, logP := range l.exp {
		if !(logP > cut) {
			continue
		}
		prob := kernel.Exp64(logP)
		sum += prob
		kl += float64(prob * (logP - (float64(got[id]) - lseGot)))
	}
	// Codes are off by half a step of 16/65535 at most. What was cut off is more
	// than a few percent only if it is most of a very large vocabulary.
	if !(sum > 0.9 && sum < 1.001) {
		return s, p.corrupt(t, "all tokens together have a probability of %.4g", sum)
	}
	lse := kernel.Log64(sum)
	s.kl = max(0, kl/sum-lse)
	choice, _ := argmax(got)
	logChoice := l.exp[choice] - lse
	if !(l.exp[choice] > cut) {
		logChoice = math.NaN()
	}
	s.top1 = l.exp[choice] == l.exp[best]
	s.choose(got, lseGot, best, l.exp[best]-lse, choice, logChoice)
	s.moments = momentsOf(got)
	if next >= 0 {
		s.nll = lseGot - float64(got[next])
		s.refNLL = lse - l.exp[next]
	}
	return s, nil
}

// widen writes a row's log-probabilities to dst and returns the first of the
// largest, and the value up to which they are not known.
func (p *basePrompt) widen(dst []float64, row []byte) (best int, cut float64, err error) {
	var scale, least float64
	err = parallel.Guard(func() error {
		scale = float64(math.Float32frombits(binary.LittleEndian.Uint32(row)))
		least = float64(math.Float32frombits(binary.LittleEndian.Uint32(row[4:])))
		for i := range dst {
			dst[i] = float64(scale*float64(binary.LittleEndian.Uint16(row[baseRowStart+2*i:]))) + least
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	if !isFinite(scale) || !isFinite(least) || scale < 0 {
		return 0, 0, fmt.Errorf("the scale is %v and the least log-probability %v", scale, least)
	}
	for i, v := range dst {
		if v > dst[best] {
			best = i
		}
	}
	cut = math.Inf(-1)
	if scale*baseCodes > baseRange-1e-3 {
		cut = least
	}
	return best, cut, nil
}

func (p *basePrompt) corrupt(t int, format string, args ...any) error {
	return defect.Corrupt(p.path, fmt.Sprintf("chunk %d", p.n), "position %d: "+format, append([]any{t}, args...)...)
}

// appendBaseRow appends a row of a base file.
func appendBaseRow(b []byte, logits []float32) []byte {
	_, high := argmax(logits)
	low := high
	for _, v := range logits {
		low = min(low, v)
	}
	least := max(low-high, -baseRange) // below the largest
	scale := -least / baseCodes
	lse := float32(logSumExp(logits, nil) - float64(high))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(scale))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(least-lse))
	inverse := 1 / scale
	for _, v := range logits {
		code := uint16(0)
		// A scale whose inverse is infinite tells no two logits apart.
		if d := v - high; d > least && isFinite(float64(inverse)) {
			code = uint16(min(baseCodes, math.RoundToEven(float64(float32((d-least)*inverse)))))
		}
		b = binary.LittleEndian.AppendUint16(b, code)
	}
	if len(logits)%2 != 0 {
		b = append(b, 0, 0)
	}
	return b
}

// baseHead returns the header and tokens of a base file, and the bytes of the
// rows after it. Prompts must be as TextPrompts makes them.
func baseHead(prompts []Prompt, vocab int) (head []byte, size int64, err error) {
	context := len(prompts[0].IDs)
	for i, p := range prompts {
		if len(p.IDs) != context || p.From != context/2 || p.To != context-1 {
			return nil, 0, fmt.Errorf("prompt %d: a base file holds chunks of one length, each scored in its second half", i)
		}
	}
	head = append(head, baseMagic...)
	for _, n := range []int{context, vocab, len(prompts)} {
		head = binary.LittleEndian.AppendUint32(head, uint32(n))
	}
	for _, p := range prompts {
		for _, id := range p.IDs {
			head = binary.LittleEndian.AppendUint32(head, uint32(id))
		}
	}
	rows := int64(len(prompts)) * int64(prompts[0].To-prompts[0].From)
	return head, rows * int64(baseWidth(vocab)), nil
}
