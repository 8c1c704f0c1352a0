package atomicfile_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"thimble/internal/atomicfile"
	"thimble/internal/atomicfile/faulty"
)

// writeDir writes a folder with two files.
func writeDir(path string, o atomicfile.Options) error {
	d, err := atomicfile.CreateDir(path, []string{"a", "[b-b]", "c"}, o)
	if err != nil {
		return err
	}
	defer d.Abort()
	for _, name := range []string{"a", "b"} {
		err := d.Write(name, func(w io.Writer) error {
			_, err := io.WriteString(w, "new "+name)
			return err
		})
		if err != nil {
			return err
		}
	}
	return d.Commit()
}

// folder makes a folder at path with files of these names, which contain "old".
func folder(t *testing.T, path string, names ...string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(path, name), []byte("old"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// A folder appears with its files where nothing or an empty folder was; one with old files is
// replaced as a whole if that is asked for.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for _, c := range []struct {
		before func()
		o      atomicfile.Options
	}{
		{func() {}, atomicfile.Options{Size: 10}},
		{func() { os.RemoveAll(path); folder(t, path) }, atomicfile.Options{}},
		{func() { folder(t, path, "b", "c") }, atomicfile.Options{Overwrite: true}},
	} {
		c.before()
		if err := atomicfile.CheckDir(path, []string{"a", "b", "c"}, c.o); err != nil {
			t.Fatal(err)
		}
		if err := writeDir(path+"/", c.o); err != nil {
			t.Fatal(err)
		}
		if a, b := contents(t, filepath.Join(path, "a")), contents(t, filepath.Join(path, "b")); a != "new a" || b != "new b" {
			t.Errorf("the files are %q and %q", a, b)
		}
		if err := errors.Join(faulty.Only(dir, "out"), faulty.Only(path, "a", "b")); err != nil {
			t.Error(err)
		}
	}
}

func TestDirRefuses(t *testing.T) {
	dir := t.TempDir()
	old := folder(t, filepath.Join(dir, "old"), "a")
	foreign := folder(t, filepath.Join(dir, "foreign"), "a", "README.md")
	file := filepath.Join(folder(t, filepath.Join(dir, "files"), "file"), "file")
	nested := folder(t, filepath.Join(dir, "nested", "a"))
	for _, c := range []struct {
		path string
		o    atomicfile.Options
		want string
	}{
		{old, atomicfile.Options{}, "exists"},
		{old, atomicfile.Options{Overwrite: true, Inputs: []string{filepath.Join(old, "a")}}, "holds a, an input of this run"},
		{foreign, atomicfile.Options{Overwrite: true}, `holds "README.md", which is not a file of this format`},
		{filepath.Dir(nested), atomicfile.Options{Overwrite: true}, `holds "a", which is not a file`},
		{file, atomicfile.Options{Overwrite: true}, "is not a folder"},
		{filepath.Join(dir, "no", "out"), atomicfile.Options{}, "its parent folder does not exist"},
		{filepath.Join(dir, "out"), atomicfile.Options{Size: 8, System: &faulty.System{Room: 7}}, "needs 8 B, 1 B more than the disk has free; delete something there, or write to another disk"},
	} {
		for _, err := range []error{writeDir(c.path, c.o), atomicfile.CheckDir(c.path, []string{"a", "b", "c"}, c.o)} {
			if err == nil || !strings.Contains(err.Error(), c.want) && !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), c.path) {
				t.Errorf("%s: got %v, want ... %s", c.path, err, c.want)
			}
		}
	}
	d, err := atomicfile.CreateDir(filepath.Join(dir, "out"), []string{"a"}, atomicfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Write("b", func(io.Writer) error { return nil }); err == nil {
		t.Error("a file was written that was not announced")
	}
	d.Abort()
	if err := faulty.Only(dir, "old", "foreign", "files", "nested"); err != nil {
		t.Error(err)
	}
}

// Whatever operation fails, what was at the path stays as it was and nothing else is left. If
// only the sync of the parent folder fails, the new folder is in place.
func TestDirFaults(t *testing.T) {
	fault := errors.New("fault")
	for _, c := range []struct{ existed, apart bool }{{}, {true, false}, {true, true}} {
		existed := c.existed
		for n := 1; ; n++ {
			dir := t.TempDir()
			path := filepath.Join(dir, "out")
			if existed {
				folder(t, path, "a", "c")
			}
			s := &faulty.System{Fail: n, Err: fault, Apart: c.apart}
			err := writeDir(path, atomicfile.Options{Overwrite: true, System: s})
			if err == nil {
				if n < 10 {
					t.Errorf("only %d operations can fail", n-1)
				}
				break
			}
			if !errors.Is(err, fault) || !strings.Contains(err.Error(), path) {
				t.Errorf("operation %d: %v", n, err)
			}
			complete := faulty.Only(path, "a", "b") == nil
			if !complete && existed {
				if err := faulty.Only(path, "a", "c"); err != nil {
					t.Errorf("operation %d: %v", n, err)
				}
			}
			if _, err := os.Stat(path); !existed && !complete && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("operation %d left a folder: %v", n, err)
			}
			if existed || complete {
				if err := faulty.Only(dir, "out"); err != nil {
					t.Errorf("operation %d: %v", n, err)
				}
			} else if err := faulty.Only(dir); err != nil {
				t.Errorf("operation %d: %v", n, err)
			}
		}
	}
}

// A folder that is replaced is at its path all the time, as the old one or the new one, if the
// system can exchange two names. If not, it moves aside.
func TestDirReplaced(t *testing.T) {
	dir := t.TempDir()
	path := folder(t, filepath.Join(dir, "out"), "a", "c")
	for apart, want := range map[bool]string{false: "exchange syncdir", true: "rename rename syncdir"} {
		s := &faulty.System{Apart: apart}
		if err := writeDir(path, atomicfile.Options{Overwrite: true, System: s}); err != nil {
			t.Fatal(err)
		}
		if trace := strings.Join(s.Trace, " "); !strings.HasSuffix(trace, " close syncdir "+want) {
			t.Errorf("%s, want ... %s", trace, want)
		}
	}
}

// Nobody who looks sees the moment in which a folder is replaced.
func TestDirWatched(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this system cannot exchange two names")
	}
	dir := t.TempDir()
	path := folder(t, filepath.Join(dir, "out"), "a", "c")
	file := filepath.Join(path, "a") // in the old folder and in the new one
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if _, err := os.Lstat(file); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 10 {
		if err := writeDir(path, atomicfile.Options{Overwrite: true}); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := errors.Join(faulty.Only(dir, "out"), faulty.Only(path, "a", "b")); err != nil {
		t.Error(err)
	}
}
