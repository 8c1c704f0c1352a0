package signature

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"thimble/internal/defect"
)

// MaxTrust is the largest file of trusted keys, in bytes.
const MaxTrust = 1 << 20

// Trust is the keys whose signatures are accepted.
type Trust struct {
	file  string
	lines []line
}

// A line is one key, and what it is accepted for.
type line struct {
	number        int
	principals    string // "" in the file of a public key
	comment       string
	key           []byte
	namespaces    string // a list of patterns; "" is any
	after, before time.Time
	authority     bool
	unknown       string // an option that this package does not know
}

// ParseTrust reads the file of a public key, such as id_ed25519.pub, or an allowed_signers
// file, as ssh-keygen(1) describes it. Keys of other types than ed25519 are passed over: they
// have no signatures that Parse accepts. file names it in errors.
func ParseTrust(file string, text []byte) (*Trust, error) {
	t := &Trust{file: file}
	fault := func(format string, args ...any) (*Trust, error) {
		return nil, fmt.Errorf("--trust %s: %s", defect.Printable(file), fmt.Sprintf(format, args...))
	}
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return fault("is a private key; give the public one, the file with .pub")
	}
	if bytes.Contains(text, []byte(armorBegin)) {
		return fault("is a signature; give the public key that made it, or an allowed_signers file")
	}
	number := 0
	for row := range strings.Lines(string(text)) {
		number++
		row = strings.TrimSpace(row)
		if row == "" || row[0] == '#' || !strings.Contains(row, ssh.KeyAlgoED25519+" ") {
			continue
		}
		l, err := parseLine(row)
		if err != nil {
			return fault("line %d: %s", number, defect.Printable(err.Error()))
		}
		l.number = number
		t.lines = append(t.lines, *l)
	}
	if t.lines == nil {
		return fault("has no %s key; give an id_ed25519.pub or an allowed_signers file", ssh.KeyAlgoED25519)
	}
	return t, nil
}

func parseLine(row string) (*line, error) {
	l := &line{}
	if !looksPublic(row) {
		l.principals, row = cutField(row)
	}
	key, comment, options, _, err := ssh.ParseAuthorizedKey([]byte(row))
	if err != nil {
		return nil, errors.New("is neither a public key nor PRINCIPALS [OPTIONS] KEYTYPE KEY")
	}
	l.key, l.comment = key.Marshal(), comment
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		value = strings.Trim(value, `"`)
		switch strings.ToLower(name) {
		case "namespaces":
			l.namespaces = value
		case "cert-authority":
			l.authority = true
		case "valid-after":
			l.after, err = parseTime(value)
		case "valid-before":
			l.before, err = parseTime(value)
		default:
			l.unknown = name
		}
		if err != nil {
			return nil, err
		}
	}
	return l, nil
}

// cutField returns the first field of row, which may be quoted, and what follows it.
func cutField(row string) (field, rest string) {
	if quoted, ok := strings.CutPrefix(row, `"`); ok {
		field, rest, _ = strings.Cut(quoted, `"`)
	} else if i := strings.IndexAny(row, " \t"); i >= 0 {
		field, rest = row[:i], row[i:]
	}
	return field, strings.TrimSpace(rest)
}

// parseTime reads YYYYMMDD[HHMM[SS]], in local time unless a Z follows.
func parseTime(text string) (time.Time, error) {
	digits, utc := strings.CutSuffix(text, "Z")
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	for _, form := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(form) == len(digits) {
			if at, err := time.ParseInLocation(form, digits, zone); err == nil {
				return at, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%s is not a time such as 20300131Z or 20300131120000Z", text)
}

// refuses returns why l does not accept a signature at the given time, "" if it does.
func (l *line) refuses(now time.Time) string {
	switch {
	case l.unknown != "":
		return fmt.Sprintf("its option %s is unknown", defect.Printable(l.unknown))
	case l.authority:
		return "it is an authority for certificates, which Thimble does not read"
	case l.namespaces != "" && !matchList(l.namespaces, Namespace):
		return fmt.Sprintf("its namespaces, %s, do not include %s", defect.Printable(l.namespaces), Namespace)
	case !l.after.IsZero() && now.Before(l.after):
		return "it is valid only after " + l.after.Format(time.DateTime)
	case !l.before.IsZero() && !now.Before(l.before):
		return "it was valid only before " + l.before.Format(time.DateTime)
	}
	return ""
}

// matchList reports whether a list of patterns, separated by commas, matches name: one of them
// does, and none after a "!" does.
func matchList(list, name string) bool {
	found := false
	for pattern := range strings.SplitSeq(list, ",") {
		pattern, negated := strings.CutPrefix(pattern, "!")
		pattern = strings.NewReplacer(`\`, `\\`, "[", `\[`).Replace(pattern) // these are no patterns here
		if ok, err := path.Match(pattern, name); ok && err == nil {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}

// A Signer is who made a signature.
type Signer struct {
	Key        string `json:"key"`                  // fingerprint, as "ssh-keygen -l" shows it
	Principals string `json:"principals,omitempty"` // of an allowed_signers file
	Comment    string `json:"comment,omitempty"`
}

// A RefusedError is the verdict that a signature is not one of the model by a trusted key.
type RefusedError struct{ text string }

func (e *RefusedError) Error() string { return e.text }

// Check returns who signed m with s. The error is a *RefusedError if t does not trust the key
// at the given time, or s is not of m. file names the signature, and model what m is of, in
// errors.
func (t *Trust) Check(s *Signature, m Message, now time.Time, file, model string) (*Signer, error) {
	refuse := func(format string, args ...any) (*Signer, error) {
		return nil, &RefusedError{fmt.Sprintf(format, args...)}
	}
	var accepted *line
	why := ""
	for i := range t.lines {
		l := &t.lines[i]
		if !bytes.Equal(l.key, s.key.Marshal()) {
			continue
		}
		if reason := l.refuses(now); reason != "" {
			why = fmt.Sprintf("line %d has it, but %s", l.number, reason)
		} else if accepted == nil {
			accepted = l
		}
	}
	if accepted != nil && s.namespace != Namespace {
		return refuse("%s: is for the namespace %s, want %s; sign with thimble sign, or with ssh-keygen -Y sign -n %[3]s", defect.Printable(file), defect.Printable(s.namespace), Namespace)
	}
	switch err := s.check(m); {
	case errors.Is(err, errOther) && accepted == nil: // a damaged signature may name a key that nobody has
		return refuse("%s: does not fit %s: one of them was changed or damaged, or they do not belong together; copy both again from their source", defect.Printable(file), defect.Printable(model))
	case errors.Is(err, errOther):
		return refuse("%s: was changed after it was signed, or %s is damaged or of another model; copy both again from their source", defect.Printable(model), defect.Printable(file))
	case err != nil:
		return nil, err
	case accepted == nil && why != "":
		return refuse("%s: the key %s is not trusted: %s of %s; change that line, or do not use the model", defect.Printable(file), s.Fingerprint(), why, defect.Printable(t.file))
	case accepted == nil:
		return refuse("%s: was made by the key %s, which is not in %s; if its owner confirms that fingerprint, add the key, otherwise do not use the model",
			defect.Printable(file), s.Fingerprint(), defect.Printable(t.file))
	}
	return &Signer{s.Fingerprint(), accepted.principals, accepted.comment}, nil
}
