package vocab

import "strings"

// byteLetters lists the characters that represent bytes 0 to 255 in a byte-level
// vocabulary: printable Latin-1 represents itself, U+0100 and up the rest (GPT-2,
// encoder.py).
var byteLetters = func() (letters [256]rune) {
	next := rune(256)
	for b := range letters {
		if b >= '!' && b <= '~' || b >= 0xa1 && b != 0xad {
			letters[b] = rune(b)
		} else {
			letters[b] = next
			next++
		}
	}
	return letters
}()

// Spell returns the bytes of a token in byteLetters.
func Spell(token []byte) string {
	var b strings.Builder
	for _, c := range token {
		b.WriteRune(byteLetters[c])
	}
	return b.String()
}

// Unspell returns the bytes that a token spelled in byteLetters represents. If the token
// has other characters, it returns the token itself and false.
func Unspell(text string) (token []byte, plain bool) {
	token = make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := letterBytes[r]
		if !ok {
			return []byte(text), false
		}
		token = append(token, b)
	}
	return token, true
}

// letterBytes is the inverse of byteLetters.
var letterBytes = func() map[rune]byte {
	all := make(map[rune]byte, len(byteLetters))
	for b, r := range byteLetters {
		all[r] = byte(b)
	}
	return all
}()
