package shard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thimble/internal/facts"
	"thimble/internal/journal"
)

func TestParts(t *testing.T) {
	base := filepath.Join(t.TempDir(), "out")
	f := facts.Facts{{"model", "a"}}
	put := func(s Shard, records ...string) {
		t.Helper()
		j, err := s.Open(base, f, false)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		for _, r := range records {
			if err := j.Append([]byte(r)); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantError := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	found := func(complete bool) func(Shard, *journal.Journal) (bool, error) {
		return func(Shard, *journal.Journal) (bool, error) { return complete, nil }
	}
	_, err := Collect(base, f, found(true))
	wantError(err, "out: there are no parts to merge")
	put(Shard{Index: 2, Of: 2}, "b")
	_, err = Collect(base, f, found(true))
	wantError(err, "out.shard-1-of-2: is not finished; run the same command with --shard 1/2 in place of --merge")
	put(Shard{Index: 1, Of: 2}, "a1")
	put(Shard{Index: 1, Of: 2}, "a2") // continues

	other := facts.Facts{{"model", "b"}}
	_, err = Collect(base, other, found(true))
	wantError(err, "out.shard-1-of-2: is of another run (model: was a, is b)")
	_, err = Shard{Index: 1, Of: 2}.Open(base, other, false)
	wantError(err, "is of another run (model: was a, is b)")
	if j, err := (Shard{Index: 1, Of: 2}).Open(base, other, true); err != nil || j.Len() != 0 {
		t.Errorf("with force: %d records, %v", j.Len(), err)
	}

	if err := os.WriteFile(base+".shard-x-of-3", nil, 0o600); err != nil { // is none
		t.Fatal(err)
	}
	_, err = Collect(base, f, found(false))
	wantError(err, "out.shard-1-of-2: is not finished")
	parts, err := Collect(base, f, found(true))
	if err != nil || len(parts) != 2 || parts[0].Len() != 2 || string(parts[1].Records()[0]) != "b" {
		t.Fatalf("%v, %v", parts, err)
	}
	if err := Remove(parts); err != nil {
		t.Error(err)
	}
	put(Shard{Index: 1, Of: 1})
	put(Shard{Index: 1, Of: 2}, "x")
	put(Shard{Index: 3, Of: 3}, "x")
	_, err = Collect(base, f, found(true))
	wantError(err, "a division by 2 and of one by 3")
}
