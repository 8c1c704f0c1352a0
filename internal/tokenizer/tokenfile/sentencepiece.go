package tokenfile

import (
	"fmt"
	"slices"

	"thimble/internal/defect"
	"thimble/internal/tokenizer"
	"thimble/internal/tokenizer/spelling"
	"thimble/internal/tokenizer/tokenfile/wire"
)

const modelFile = "tokenizer.model"

// Numbers of the fields that only describe how a model was trained
// (sentencepiece_model.proto).
var (
	inertTrainer = []int{1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 25, 26, 30, 31, 32, 33, 34, 36,
		40, 41, 42, 43, 49, 50, 51, 52, 53, 54, 55}
	inertModel      = []int{4} // self_test_data
	inertNormalizer = []int{1, 6}
)

// A pieceModel is a ModelProto that is being converted to Data.
type pieceModel struct {
	draft
	kind               int // 1 unigram, 2 BPE
	unk, bos, eos, pad string
	denormalizer       tokenizer.SentencePiece
}

// ParseSentencePiece parses the tokenizer.model of sentencepiece, of at most 128 MiB. A
// Tokenizer of the Data gives the same ids as the sentencepiece package: it adds none, and
// no token is special. Hugging Face gives other ids for the same file; see ParseModel.
func ParseSentencePiece(b []byte) (*tokenizer.Data, error) {
	p, err := readPieces(b)
	if err != nil {
		return nil, err
	}
	return &p.Data, nil
}

func readPieces(b []byte) (*draft, error) {
	if len(b) > tokenizer.MaxFile {
		return nil, defect.Corrupt(modelFile, "", "%d bytes exceed the limit of %d", len(b), tokenizer.MaxFile)
	}
	p := &pieceModel{kind: 1, unk: "<unk>", bos: "<s>", eos: "</s>", pad: "<pad>"}
	p.SentencePiece = &tokenizer.SentencePiece{DummyPrefix: true, RemoveExtra: true, UnkSurface: " \u2047 "}
	m := wire.New(modelFile, "ModelProto", b)
	for n := m.Next(); n != 0; n = m.Next() {
		switch n {
		case 1:
			p.piece(m)
		case 2:
			p.trainer(m)
		case 3:
			p.normalizer(m, p.SentencePiece)
		case 5:
			p.normalizer(m, &p.denormalizer)
		default:
			m.Skip(n, inertModel)
		}
	}
	if m.Err() != nil {
		return nil, m.Err()
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	return &p.draft, p.Check()
}

func (p *pieceModel) piece(m *wire.Message) {
	if len(p.Tokens) == tokenizer.MaxTokens {
		m.Fail("more than %d pieces", tokenizer.MaxTokens)
		return
	}
	part := m.Part(fmt.Sprintf("pieces[%d]", len(p.Tokens)))
	text, score, kind := "", float32(0), int(tokenizer.KindNormal)
	for n := part.Next(); n != 0; n = part.Next() {
		switch n {
		case 1:
			text = part.Text()
		case 2:
			score = part.Float()
		case 3:
			if kind = part.Int(); kind < int(tokenizer.KindNormal) || kind > int(tokenizer.KindByte) {
				part.Fail("type %d", kind)
			}
		default:
			part.Skip(n, nil)
		}
	}
	if text == "" || len(text) > tokenizer.MaxPiece {
		part.Fail("a piece of %d bytes, want 1 to %d", len(text), tokenizer.MaxPiece)
	}
	if _, ok := spelling.Byte([]byte(text)); kind == int(tokenizer.KindByte) && !ok {
		part.Fail("byte piece %q, want the form <0x0A>", defect.Printable(text))
	}
	m.Close(part)
	p.Tokens = append(p.Tokens, []byte(text))
	p.Scores = append(p.Scores, float64(score))
	p.Kinds = append(p.Kinds, byte(kind))
}

func (p *pieceModel) trainer(m *wire.Message) {
	part := m.Part("TrainerSpec")
	for n := part.Next(); n != 0; n = part.Next() {
		switch n {
		case 3:
			p.kind = part.Int()
		case 24:
			p.SentencePiece.Suffix = part.Bool()
		case 35:
			p.ByteFallback = part.Bool()
		case 44:
			p.SentencePiece.UnkSurface = part.Text()
		case 45:
			p.unk = part.Text()
		case 46:
			p.bos = part.Text()
		case 47:
			p.eos = part.Text()
		case 48:
			p.pad = part.Text()
		default:
			part.Skip(n, inertTrainer)
		}
	}
	m.Close(part)
}

func (p *pieceModel) normalizer(m *wire.Message, to *tokenizer.SentencePiece) {
	part := m.Part("NormalizerSpec")
	for n := part.Next(); n != 0; n = part.Next() {
		switch n {
		case 2:
			to.Charsmap = part.Bytes()
		case 3:
			to.DummyPrefix = part.Bool()
		case 4:
			to.RemoveExtra = part.Bool()
		case 5:
			to.KeepSpaces = !part.Bool()
		default:
			part.Skip(n, inertNormalizer)
		}
	}
	m.Close(part)
}

// finish sets the fields of Data that depend on several fields of the file.
func (p *pieceModel) finish() error {
	switch p.kind {
	case 1:
		p.Model = tokenizer.SentencePieceUnigram
	case 2:
		p.Model = tokenizer.SentencePieceBPE
	default:
		return defect.Unsupported(modelFile, "model_type %d (want 1 for unigram or 2 for BPE)", p.kind)
	}
	if len(p.denormalizer.Charsmap) > 0 {
		return defect.Unsupported(modelFile, "a denormalizer")
	}
	p.SentencePiece.Charsmap = slices.Clip(slices.Clone(p.SentencePiece.Charsmap)) // the caller may unmap the file
	p.Unknown = tokenizer.UnknownRun
	if p.Unk = slices.Index(p.Kinds, tokenizer.KindUnknown); p.Unk < 0 {
		return defect.Corrupt(modelFile, "pieces", "no piece is the unknown token")
	}
	if i := slices.Index(p.Kinds[p.Unk+1:], tokenizer.KindUnknown); i >= 0 {
		return defect.Corrupt(modelFile, "pieces", "pieces %d and %d are both unknown tokens, want one", p.Unk, p.Unk+1+i)
	}
	if p.ByteFallback {
		var have [256]bool
		for id, kind := range p.Kinds {
			if b, ok := spelling.Byte(p.Tokens[id]); ok && kind == tokenizer.KindByte {
				have[b] = true
			}
		}
		if b := slices.Index(have[:], false); b >= 0 {
			return defect.Corrupt(modelFile, "byte_fallback", "no piece for byte 0x%02x", b)
		}
	}
	for _, role := range []struct {
		id    *int
		piece string
	}{{&p.BOS, p.bos}, {&p.EOS, p.eos}, {&p.Pad, p.pad}} {
		*role.id = -1
		for id, t := range p.Tokens {
			if p.Kinds[id] == tokenizer.KindControl && string(t) == role.piece {
				*role.id = id
			}
		}
	}
	return nil
}
