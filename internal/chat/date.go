package chat

import (
	"errors"
	"fmt"
	"time"

	"thimble/internal/chat/python"
)

// fixedDate is the current date for a template of a Conversation that has none, so that the
// same conversations give the same bytes on any day: in calibration. It is the default date of
// Llama 3's template.
var fixedDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// maxFormat is the most bytes of a format of strftime_now: a directive of two bytes can write
// many.
const maxFormat = 1000

// strftimeNow returns strftime_now, which a template calls to format the current date.
func strftimeNow(now time.Time) func([]python.Value) (python.Value, error) {
	if now.IsZero() {
		now = fixedDate
	}
	return func(args []python.Value) (python.Value, error) {
		if len(args) != 1 {
			return nil, errors.New("strftime_now takes one format")
		}
		format, ok := args[0].(string)
		if !ok || len(format) > maxFormat {
			return nil, fmt.Errorf("strftime_now takes one format of at most %d bytes", maxFormat)
		}
		return strftime(format, now)
	}
}
