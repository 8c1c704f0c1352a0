package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func head() ([]byte, error) { return []byte("head"), nil }

// written is a journal of the records given, in a file.
func written(t *testing.T, records ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal")
	j := New(path, false, head)
	defer j.Close()
	for _, r := range records {
		if err := j.Append([]byte(r[:len(r)/2]), nil, []byte(r[len(r)/2:])); err != nil {
			t.Fatal(err)
		}
	}
	if j.Len() != len(records) {
		t.Errorf("%d records, want %d", j.Len(), len(records))
	}
	return path
}

// reads checks the records of the journal at path, and appends one more if that
// is not empty.
func reads(t *testing.T, path string, more string, want ...string) (torn int64) {
	t.Helper()
	j, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	var got []string
	for _, r := range j.Records() {
		got = append(got, string(r))
	}
	if string(j.Head()) != "head" || !slices.Equal(got, want) {
		t.Errorf("head %q, records %q, want %q", j.Head(), got, want)
	}
	if more != "" {
		if err := j.Append([]byte(more)); err != nil {
			t.Fatal(err)
		}
		if j.Len() != len(want)+1 {
			t.Errorf("%d records, want %d", j.Len(), len(want)+1)
		}
	}
	return j.Torn()
}

func TestRecords(t *testing.T) {
	path := written(t, "one", "", "three")
	reads(t, path, "four", "one", "", "three")
	reads(t, path, "", "one", "", "three", "four")
	text, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(text, []byte(Magic)) {
		t.Errorf("it begins with %q, %v", text[:min(len(text), 20)], err)
	}
}

// The file appears with the first record, not before, and not over another.
func TestNothingWithoutARecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := New(path, false, head)
	j.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
	if err := j.Remove(); err != nil {
		t.Error(err)
	}
	failing := errors.New("no head")
	if err := New(path, false, func() ([]byte, error) { return nil, failing }).Append(nil); !errors.Is(err, failing) {
		t.Errorf("error is %v, want %v", err, failing)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
	path = written(t, "one")
	if err := New(path, false, head).Append(nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrExist)
	}
	reads(t, path, "", "one")
	j = New(path, true, head)
	if err := j.Append([]byte("other")); err != nil {
		t.Fatal(err)
	}
	reads(t, path, "", "other")
	for _, j := range []*Journal{j, New(written(t, "one"), true, head)} {
		if err := j.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(j.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("there is a file: %v", err)
		}
	}
	var none *Journal
	if err := none.Append(nil); err != nil || none.Len() != 0 || none.Records() != nil || none.Remove() != nil {
		t.Error("a nil journal keeps something")
	}
	none.Close()
}

// What is cut anywhere keeps its whole records and can be gone on with.
func TestTorn(t *testing.T) {
	whole, err := os.ReadFile(written(t, "one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	const frame = lengthBytes + 32
	ends := []int{len(Magic), len(Magic) + frame + 4, len(Magic) + 2*frame + 7, len(whole)}
	for n := range whole {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if n < ends[1] {
			if _, err := Open(path); err == nil {
				t.Errorf("%d bytes are a journal", n)
			}
			continue
		}
		want := []string{"one", "two"}[:min(1, n/ends[2])]
		end := ends[1+len(want)]
		more := ""
		if n%8 == 0 {
			more = "more"
		}
		if torn := reads(t, path, more, want...); torn != int64(n-end) {
			t.Errorf("%d bytes: %d torn, want %d", n, torn, n-end)
		}
		if more == "" {
			continue
		}
		if torn := reads(t, path, "", append(want, "more")...); torn != 0 {
			t.Errorf("%d bytes: %d still torn", n, torn)
		}
	}
}

// A flipped bit loses its record and all after it, never more.
func TestFlipped(t *testing.T) {
	whole, err := os.ReadFile(written(t, "one", "two", "three"))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{"one", "two", "three"}
	for at := range whole {
		damaged := slices.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		end, n := len(Magic)+lengthBytes+4+32, 0
		if at < end {
			if _, err := Open(path); err == nil {
				t.Errorf("byte %d of the head was changed", at)
			}
			continue
		}
		for end+lengthBytes+len(all[n])+32 <= at {
			end += lengthBytes + len(all[n]) + 32
			n++
		}
		reads(t, path, "", all[:n]...)
	}
}

// Records of another run do not follow those of this one.
func TestExchanged(t *testing.T) {
	a, err := os.ReadFile(written(t, "one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(written(t, "eno", "two"))
	if err != nil {
		t.Fatal(err)
	}
	last := lengthBytes + 3 + 32
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, append(slices.Clone(a[:len(a)-last]), b[len(b)-last:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	reads(t, path, "", "one")
}

// What is not a journal is never touched.
func TestInTheWay(t *testing.T) {
	dir := t.TempDir()
	note := filepath.Join(dir, "note")
	if err := os.WriteFile(note, []byte("thimble unfinished, but a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{note, dir} {
		if _, err := Exists(path); err == nil {
			t.Errorf("%s is a journal", path)
		}
		if err := Discard(path); err == nil {
			t.Errorf("%s was discarded", path)
		}
		if _, err := Open(path); err == nil {
			t.Errorf("%s was opened", path)
		}
		if err := New(path, true, head).Append(nil); err == nil {
			t.Errorf("%s was replaced", path)
		}
	}
	for _, c := range []struct {
		path string
		want bool
	}{{filepath.Join(dir, "missing"), false}, {written(t, "one"), true}} {
		if there, err := Exists(c.path); there != c.want || err != nil {
			t.Errorf("%s: %t, %v", c.path, there, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(Magic))
	f.Add([]byte(Magic + "\xff\xff\xff\xff\xff\xff\xff\xff" + fmt.Sprintf("%64d", 0)))
	f.Add([]byte(Magic + "\xd8\xff\xff\xff\xff\xff\xff\xff" + fmt.Sprintf("%64d", 0)))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := Open(path)
		if err != nil {
			return
		}
		defer j.Close()
		n := j.Torn() + int64(len(Magic)+lengthBytes+len(j.Head())+32)
		for _, r := range j.Records() {
			n += int64(lengthBytes + len(r) + 32)
		}
		if n != int64(len(text)) {
			t.Errorf("%d bytes make %d", len(text), n)
		}
	})
}
