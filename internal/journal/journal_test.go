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

// create writes a journal with the given records and returns its path.
func create(t *testing.T, records ...string) string {
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

// check compares the records of the journal at path with want, and appends more
// unless that is empty.
func check(t *testing.T, path string, more string, want ...string) (torn int64) {
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
	path := create(t, "one", "", "three")
	check(t, path, "four", "one", "", "three")
	check(t, path, "", "one", "", "three", "four")
	text, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(text, []byte(Magic)) {
		t.Errorf("file begins with %q, %v", text[:min(len(text), 20)], err)
	}
}

// The first Append creates the file. It replaces another journal only if replace is
// set.
func TestFirstAppendCreates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := New(path, false, head)
	j.Close()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file exists: %v", err)
	}
	if err := j.Remove(); err != nil {
		t.Error(err)
	}
	failing := errors.New("no head")
	if err := New(path, false, func() ([]byte, error) { return nil, failing }).Append(nil); !errors.Is(err, failing) {
		t.Errorf("error is %v, want %v", err, failing)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file exists: %v", err)
	}
	path = create(t, "one")
	if err := New(path, false, head).Append(nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error is %v, want %v", err, fs.ErrExist)
	}
	check(t, path, "", "one")
	j = New(path, true, head)
	if err := j.Append([]byte("other")); err != nil {
		t.Fatal(err)
	}
	check(t, path, "", "other")
	for _, j := range []*Journal{j, New(create(t, "one"), true, head)} {
		if err := j.Remove(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(j.Path()); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file exists: %v", err)
		}
	}
	var none *Journal
	if err := none.Append(nil); err != nil || none.Len() != 0 || none.Records() != nil || none.Remove() != nil {
		t.Error("a nil journal stores something")
	}
	none.Close()
}

// A journal truncated at any byte keeps its whole records and accepts more.
func TestTorn(t *testing.T) {
	whole, err := os.ReadFile(create(t, "one", "two"))
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
				t.Errorf("Open accepts the first %d bytes, which lack the head", n)
			}
			continue
		}
		want := []string{"one", "two"}[:min(1, n/ends[2])]
		end := ends[1+len(want)]
		more := ""
		if n%8 == 0 {
			more = "more"
		}
		if torn := check(t, path, more, want...); torn != int64(n-end) {
			t.Errorf("%d bytes: %d torn, want %d", n, torn, n-end)
		}
		if more == "" {
			continue
		}
		if torn := check(t, path, "", append(want, "more")...); torn != 0 {
			t.Errorf("%d bytes: %d still torn", n, torn)
		}
	}
}

// A flipped bit loses its record and all later ones, and no other.
func TestFlipped(t *testing.T) {
	whole, err := os.ReadFile(create(t, "one", "two", "three"))
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
				t.Errorf("Open accepts a head whose byte %d was changed", at)
			}
			continue
		}
		for end+lengthBytes+len(all[n])+32 <= at {
			end += lengthBytes + len(all[n]) + 32
			n++
		}
		check(t, path, "", all[:n]...)
	}
}

// Open ignores a record that was copied from the journal of another run.
func TestForeignRecord(t *testing.T) {
	a, err := os.ReadFile(create(t, "one", "two"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(create(t, "eno", "two"))
	if err != nil {
		t.Fatal(err)
	}
	last := lengthBytes + 3 + 32
	path := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(path, append(slices.Clone(a[:len(a)-last]), b[len(b)-last:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, path, "", "one")
}

// No function changes a file that is not a journal.
func TestNotAJournal(t *testing.T) {
	dir := t.TempDir()
	note := filepath.Join(dir, "note")
	if err := os.WriteFile(note, []byte("thimble unfinished, but a text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{note, dir} {
		if _, err := Exists(path); err == nil {
			t.Errorf("Exists accepts %s", path)
		}
		if err := Discard(path); err == nil {
			t.Errorf("Discard deleted %s", path)
		}
		if _, err := Open(path); err == nil {
			t.Errorf("Open accepts %s", path)
		}
		if err := New(path, true, head).Append(nil); err == nil {
			t.Errorf("Append replaced %s", path)
		}
	}
	for _, c := range []struct {
		path string
		want bool
	}{{filepath.Join(dir, "missing"), false}, {create(t, "one"), true}} {
		if got, err := Exists(c.path); got != c.want || err != nil {
			t.Errorf("Exists(%s) = %t, %v", c.path, got, err)
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
			t.Errorf("records and torn bytes add up to %d of %d bytes", n, len(text))
		}
	})
}
