package chat

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// fixedDate is the current date for a template, so that the same conversations give the
// same bytes on any day. It is the default date of Llama 3's template.
var fixedDate = time.Date(2024, time.July, 26, 0, 0, 0, 0, time.UTC)

// layouts maps the directives of Python's strftime that templates use, in the C locale,
// to layouts of package time.
var layouts = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'H': "15", 'I': "03", 'M': "04", 'S': "05", 'p': "PM",
	'B': "January", 'b': "Jan", 'A': "Monday", 'a': "Mon", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05",
}

// strftimeNow implements strftime_now, which a template calls to format the current date.
func strftimeNow(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	if len(args) != 1 || !args[0].IsString() {
		return jinja.Undefined(), errors.New("strftime_now takes one format")
	}
	format := args[0].AsString()
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		if i++; i == len(format) {
			return jinja.Undefined(), fmt.Errorf("strftime_now: %q ends in a percent sign", format)
		}
		layout, ok := layouts[format[i]]
		switch {
		case format[i] == '%':
			b.WriteByte('%')
		case !ok:
			return jinja.Undefined(), fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		default:
			b.WriteString(fixedDate.Format(layout))
		}
	}
	return jinja.NewString(b.String()), nil
}
