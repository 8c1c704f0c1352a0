package quantize

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"thimble/internal/facts"
)

// Facts identify the inputs that something was made from.
type Facts = facts.Facts

// Facts returns facts that identify c by the ids of its tokens, whatever text and
// tokenizer they come from.
func (c *Calibration) Facts() Facts {
	h := sha256.New()
	var b []byte
	for _, t := range c.Texts {
		b = binary.LittleEndian.AppendUint32(b[:0], uint32(len(t)))
		for _, id := range t {
			b = binary.LittleEndian.AppendUint32(b, uint32(id))
		}
		h.Write(b)
	}
	return Facts{{"pieces", fmt.Sprint(len(c.Texts))}, {"SHA-256 of token ids", hex.EncodeToString(h.Sum(nil))}}
}
