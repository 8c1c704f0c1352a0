package ans

import "encoding/binary"

// A bitWriter appends numbers of up to 32 bits, the lowest bit first.
type bitWriter struct {
	bytes []byte
	buf   uint64
	n     int // bits in buf
}

func (w *bitWriter) put(value uint32, bits int) {
	w.buf |= uint64(value) << w.n
	w.n += bits
	for w.n >= 32 {
		w.bytes = binary.LittleEndian.AppendUint32(w.bytes, uint32(w.buf))
		w.buf >>= 32
		w.n -= 32
	}
}

// finish pads the last byte with zeros.
func (w *bitWriter) finish() []byte {
	for ; w.n > 0; w.n -= 8 {
		w.bytes = append(w.bytes, uint8(w.buf))
		w.buf >>= 8
	}
	w.n = 0
	return w.bytes
}

// A bitReader reads what a bitWriter wrote. At the end it returns zeros, and short is set.
type bitReader struct {
	bytes []byte
	at    int // in bits
	short bool
}

func (r *bitReader) take(bits int) (value uint32) {
	if r.at+bits > 8*len(r.bytes) {
		r.at, r.short = 8*len(r.bytes), true
		return 0
	}
	for got := 0; got < bits; {
		n := min(8-r.at&7, bits-got)
		value |= uint32(r.bytes[r.at>>3]>>(r.at&7)&(1<<n-1)) << got
		got += n
		r.at += n
	}
	return value
}

// ended reports whether r has read exactly its bytes, with zeros in the padding.
func (r *bitReader) ended() bool {
	if r.short || len(r.bytes) != (r.at+7)/8 {
		return false
	}
	return r.at&7 == 0 || r.bytes[len(r.bytes)-1]>>(r.at&7) == 0
}
