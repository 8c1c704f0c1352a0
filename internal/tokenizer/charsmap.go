package tokenizer

import (
	"bytes"
	"encoding/binary"
)

// A charsmap holds the compiled normalization rules of sentencepiece: a double-array
// trie of texts (Darts-clone) and their replacements, which end in zero bytes
// (sentencepiece, normalizer.cc, EncodePrecompiledCharsMap).
type charsmap struct {
	units []uint32
	texts []byte
}

const maxMatches = 32 // texts compared at one position (kMaxTrieResultsSize)

// newCharsmap decodes a precompiled_charsmap. It does not check the offsets in it;
// longest checks each one that it follows, so any bytes are safe.
func newCharsmap(b []byte) (*charsmap, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if len(b) < 4 {
		return nil, corrupt("charsmap", "%d bytes, want at least 4", len(b))
	}
	size := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if size == 0 || size%4 != 0 || int64(size) >= int64(len(b)) {
		return nil, corrupt("charsmap", "a trie of %d bytes, %d bytes are left", size, len(b))
	}
	m := &charsmap{units: make([]uint32, size/4), texts: b[size:]}
	for i := range m.units {
		m.units[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	if m.texts[len(m.texts)-1] != 0 {
		return nil, corrupt("charsmap", "the last text is not terminated")
	}
	for rest := m.texts; len(rest) > 0; {
		n := bytes.IndexByte(rest, 0)
		if n > maxGrowth {
			return nil, corrupt("charsmap", "a text of %d bytes, want at most %d", n, maxGrowth)
		}
		rest = rest[n+1:]
	}
	return m, nil
}

// offset returns the offset of a unit's children. It, the leaf flag and the label are
// bit fields of a unit (Darts-clone, DoubleArrayUnit).
func offset(unit uint32) uint32 { return unit >> 10 << (unit & (1 << 9) >> 6) }

// longest returns the length of the longest prefix of s in m and its replacement. The
// length is 0 if there is none.
func (m *charsmap) longest(s string) (n int, text []byte) {
	m.prefixes(s, func(size int, replacement []byte) bool {
		n, text = size, replacement
		return true
	})
	return n, text
}

// shortest returns the replacement of the shortest prefix of s in m.
func (m *charsmap) shortest(s string) (text []byte, ok bool) {
	m.prefixes(s, func(_ int, replacement []byte) bool {
		text, ok = replacement, true
		return false
	})
	return text, ok
}

// prefixes calls found with the length and the replacement of each prefix of s in m, the
// shortest first, until it returns false.
func (m *charsmap) prefixes(s string, found func(n int, text []byte) bool) {
	at := offset(m.units[0])
	for i, matches := 0, 0; i < len(s) && matches < maxMatches; i++ {
		at ^= uint32(s[i])
		if int64(at) >= int64(len(m.units)) {
			break
		}
		unit := m.units[at]
		if unit&(1<<31|0xff) != uint32(s[i]) {
			break
		}
		at ^= offset(unit)
		if unit>>8&1 == 0 {
			continue
		}
		if int64(at) >= int64(len(m.units)) {
			break
		}
		matches++
		if value := m.units[at] &^ (1 << 31); int64(value) < int64(len(m.texts)) {
			text := m.texts[value:]
			if !found(i+1, text[:bytes.IndexByte(text, 0)]) {
				return
			}
		}
	}
}
