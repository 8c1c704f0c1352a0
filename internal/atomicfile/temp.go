package atomicfile

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
)

// A killed process leaves its temporary files and folders. So whoever makes one locks it as long as
// it is in use, and removes those in the same folder that nobody has locked.

// tempName returns the name of a temporary file or folder. It is hidden, has no extension of a
// format, and has a fixed length, since the name of the output may already be the longest that the
// system allows.
func tempName() string { return tempPrefix + rand.Text() + tempSuffix }

const tempPrefix, tempSuffix, scratchSuffix = ".thimble-", ".partial", ".scratch"

// MkdirTemp creates a temporary folder in dir. The caller must call remove, which deletes it.
func MkdirTemp(dir string) (path string, remove func(), err error) {
	if path, remove, err = mkdirTemp(dir); err != nil {
		err = pathError(dir, "create a temporary folder", err)
	}
	return path, remove, err
}

// mkdirTemp is MkdirTemp with the system's errors.
func mkdirTemp(dir string) (path string, remove func(), err error) {
	sweep(dir)
	for {
		path = filepath.Join(dir, tempName())
		if err := os.Mkdir(path, 0o777); err != nil {
			return "", nil, err
		}
		if release, ours := claim(path); ours {
			return path, func() {
				os.RemoveAll(path)
				release()
			}, nil
		}
	}
}

// sweep removes the temporary files and folders in dir whose process has ended. What it cannot
// remove stays.
func sweep(dir string) {
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1) // all before an error
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) || !strings.HasSuffix(name, tempSuffix) && !strings.HasSuffix(name, scratchSuffix) {
			continue
		}
		path := filepath.Join(dir, name)
		if release, ok := adopt(path); ok {
			os.RemoveAll(path)
			release()
		}
	}
}
