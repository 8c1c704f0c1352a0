package chat

import (
	"fmt"
	"strings"
	"time"
)

// strftime formats t as datetime.strftime of Python does on Linux, in the C locale: with the
// flags of glibc, and with directives that it does not know left as they are. It does not know
// widths and the modifiers E and O.
func strftime(format string, t time.Time) (string, error) {
	var b strings.Builder
	for {
		text, rest, found := strings.Cut(format, "%")
		b.WriteString(text)
		if !found {
			return b.String(), nil
		}
		end := len(rest) - len(strings.TrimLeft(rest, "-_0^#"))
		flags := rest[:end]
		if end == len(rest) {
			b.WriteString("%" + rest)
			return b.String(), nil
		}
		if strings.IndexByte("123456789EO", rest[end]) >= 0 {
			return "", fmt.Errorf("strftime_now: %%%.8s has a width or a modifier, which is not supported", rest)
		}
		if d := directive(rest[end], t); d != nil {
			b.WriteString(d.text(flags))
		} else {
			b.WriteString("%" + rest[:end+1])
		}
		format = rest[end+1:]
	}
}

// A part is what a directive becomes.
type part struct {
	words  string // if digits is 0
	number int
	digits int    // least width
	pad    string // of a number, unless a flag chooses another
	swap   string // words with the flag #
}

// text returns the part as the flags want it.
func (p *part) text(flags string) string {
	if p.digits == 0 {
		switch {
		case strings.Contains(flags, "#") && p.swap != "":
			return p.swap
		case strings.Contains(flags, "^"):
			return strings.ToUpper(p.words)
		}
		return p.words
	}
	pad := p.pad
	for _, f := range flags {
		switch f {
		case '-':
			pad = ""
		case '_':
			pad = " "
		case '0':
			pad = "0"
		}
	}
	text := fmt.Sprint(p.number)
	return strings.Repeat(pad, max(0, p.digits-len(text))) + text
}

// directive returns what %c becomes at t, or nil if there is no such directive.
func directive(c byte, t time.Time) *part {
	number := func(n, digits int) *part { return &part{number: n, digits: digits, pad: "0"} }
	spaced := func(n, digits int) *part { return &part{number: n, digits: digits, pad: " "} }
	words := func(layout string) *part { return &part{words: t.Format(layout)} }
	name := func(layout string) *part {
		return &part{words: t.Format(layout), swap: strings.ToUpper(t.Format(layout))}
	}
	hour := (t.Hour()+11)%12 + 1
	isoYear, isoWeek := t.ISOWeek()
	switch c {
	case 'a':
		return name("Mon")
	case 'A':
		return name("Monday")
	case 'b', 'h':
		return name("Jan")
	case 'B':
		return name("January")
	case 'p':
		return &part{words: t.Format("PM"), swap: t.Format("pm")}
	case 'P':
		return &part{words: t.Format("pm"), swap: t.Format("pm")}
	case 'c':
		return words("Mon Jan _2 15:04:05 2006")
	case 'x', 'D':
		return words("01/02/06")
	case 'X', 'T':
		return words("15:04:05")
	case 'F':
		return words("2006-01-02")
	case 'R':
		return words("15:04")
	case 'r':
		return words("03:04:05 PM")
	case 'z', 'Z': // datetime.now() has no time zone
		return &part{}
	case 'n':
		return &part{words: "\n"}
	case 't':
		return &part{words: "\t"}
	case '%':
		return &part{words: "%"}
	case 'f':
		return number(t.Nanosecond()/1000, 6)
	case 'd':
		return number(t.Day(), 2)
	case 'e':
		return spaced(t.Day(), 2)
	case 'm':
		return number(int(t.Month()), 2)
	case 'y':
		return number(t.Year()%100, 2)
	case 'Y':
		return number(t.Year(), 1)
	case 'C':
		return number(t.Year()/100, 2)
	case 'G':
		return number(isoYear, 1)
	case 'g':
		return number(isoYear%100, 2)
	case 'V':
		return number(isoWeek, 2)
	case 'U': // weeks begin on Sunday
		return number((t.YearDay()+6-int(t.Weekday()))/7, 2)
	case 'W': // on Monday
		return number((t.YearDay()+6-(int(t.Weekday())+6)%7)/7, 2)
	case 'j':
		return number(t.YearDay(), 3)
	case 'u':
		return number((int(t.Weekday())+6)%7+1, 1)
	case 'w':
		return number(int(t.Weekday()), 1)
	case 'H':
		return number(t.Hour(), 2)
	case 'k':
		return spaced(t.Hour(), 2)
	case 'I':
		return number(hour, 2)
	case 'l':
		return spaced(hour, 2)
	case 'M':
		return number(t.Minute(), 2)
	case 'S':
		return number(t.Second(), 2)
	case 's':
		return number(int(t.Unix()), 1)
	}
	return nil
}
