// Package spelling has the ways in which vocabularies write bytes and spaces as text.
package spelling

import "strings"

// Mark is U+2581, which represents a space in the vocabularies of sentencepiece.
const Mark = "\u2581"

// bytes maps the characters that represent bytes in a byte-level vocabulary to those
// bytes, and other characters to -1. Printable Latin-1 characters represent themselves;
// the characters from U+0100 on represent the other bytes in order (GPT-2, encoder.py).
var bytes = func() (a [256 + 68]int16) {
	next := 256
	for i := range a {
		a[i] = -1
	}
	for b := range 256 {
		if b >= '!' && b <= '~' || b >= 0xa1 && b != 0xad {
			a[b] = int16(b)
		} else {
			a[next] = int16(b)
			next++
		}
	}
	return a
}()

// letters is the inverse of bytes.
var letters = func() (all [256]rune) {
	for r, b := range bytes {
		if b >= 0 {
			all[b] = rune(r)
		}
	}
	return all
}()

// Letters spells the bytes of s in the byte-level alphabet.
func Letters(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(letters[s[i]])
	}
	return b.String()
}

// AppendBytes appends the bytes that a token in the byte-level alphabet represents. If
// the token has a character outside of that alphabet, it appends the token itself and
// returns false.
func AppendBytes(dst []byte, token string) ([]byte, bool) {
	at := len(dst)
	for _, r := range token {
		if int(r) >= len(bytes) || bytes[r] < 0 {
			return append(dst[:at], token...), false
		}
		dst = append(dst, byte(bytes[r]))
	}
	return dst, true
}

// Byte returns the byte of a token of the form <0x0A>.
func Byte(token []byte) (byte, bool) {
	if len(token) != 6 || string(token[:3]) != "<0x" || token[5] != '>' {
		return 0, false
	}
	hi, ok := hexDigit(token[3])
	lo, ok2 := hexDigit(token[4])
	return hi<<4 | lo, ok && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
