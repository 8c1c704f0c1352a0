package chat

import (
	"errors"
	"time"

	"github.com/ardanlabs/jinja"
)

// fixedDate is the current date for a template of a Conversation that has none, so that the
// same conversations give the same bytes on any day: in calibration. It is the default date of
// Llama 3's template.
var fixedDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// strftimeNow returns strftime_now, which a template calls to format the current date.
func strftimeNow(now time.Time) func([]jinja.Value, map[string]jinja.Value) (jinja.Value, error) {
	if now.IsZero() {
		now = fixedDate
	}
	return func(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
		if len(args) != 1 || !args[0].IsString() {
			return jinja.Undefined(), errors.New("strftime_now takes one format")
		}
		text, err := strftime(args[0].AsString(), now)
		if err != nil {
			return jinja.Undefined(), err
		}
		return jinja.NewString(text), nil
	}
}
