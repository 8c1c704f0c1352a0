package memory

import (
	"os"
	"runtime"
	"testing"
)

// The peak includes memory that was in use since the reset, and is 0 where the system does
// not say.
func TestPeak(t *testing.T) {
	if runtime.GOOS == "windows" && Peak() != 0 {
		t.Errorf("the peak is %d, want 0 for unknown", Peak())
	}
	if !ResetPeak() {
		t.Skip("this system does not allow a reset")
	}
	const size = 64 << 20
	before := Peak()
	data := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		data[i] = 1 // the page becomes resident
	}
	after := Peak()
	runtime.KeepAlive(data)
	if before <= 0 || after-before < size*3/4 || after-before > 4*size {
		t.Errorf("the peak was %d bytes, and %d after the use of %d more", before, after, size)
	}
}
