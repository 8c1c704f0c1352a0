// Package atomicfile writes files atomically: a file appears complete or not at
// all. It writes to a temporary file in the same folder, syncs it, and renames it.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"thimble/internal/units"
)

// Options control what Create may replace and what it checks.
type Options struct {
	Overwrite bool     // Create may replace an existing regular file
	Inputs    []string // files being read, which Create never replaces, even if Overwrite is set
	Size      int64    // bytes to be written, or 0 if unknown; Create checks that the disk has room
	System    System   // the file system to use; nil means the operating system's
}

// A File is a file being written. It appears under its name only at Commit. After
// an error all later calls fail.
type File struct {
	path, temp string
	options    Options
	file       Handle
	release    func() // lets other processes remove temp
	err        error  // the first error, or fs.ErrClosed after Commit or Abort
}

// Create starts writing the file at path.
func Create(path string, o Options) (*File, error) {
	if o.System == nil {
		o.System = system{}
	}
	f := &File{path: path, options: o}
	if err := checkTarget(path, o); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := checkRoom(path, dir, o); err != nil {
		return nil, err
	}
	sweep(dir)
	for {
		f.temp = filepath.Join(dir, tempName())
		var err error
		if f.file, err = o.System.Create(f.temp); err == nil {
			var ours bool
			if f.release, ours = claim(f.temp); ours {
				return f, nil
			}
			f.file.Close() // another process took it for a file that nobody writes
		} else if !errors.Is(err, fs.ErrExist) {
			return nil, f.wrap("create", err)
		}
	}
}

// Check returns the error that Create would return, and leaves nothing behind. A caller
// uses it before long work. It creates a temporary file and removes it, because nothing
// else shows reliably whether a folder can be written: permissions, a read-only file
// system and quotas all can forbid it. The error wraps fs.ErrExist if Create would succeed
// with Overwrite.
func Check(path string, o Options) error {
	f, err := Create(path, o)
	if err == nil {
		f.Abort()
		return nil
	}
	if _, missing := os.Stat(filepath.Dir(path)); errors.Is(missing, fs.ErrNotExist) {
		return fmt.Errorf("%s: its folder does not exist; create it first", path)
	}
	return err
}

// checkTarget returns an error if o forbids replacing what exists at path.
func checkTarget(path string, o Options) error {
	refuse := func(why string) error { return fmt.Errorf("%s: %s", path, why) }
	old, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return pathError(path, "look up", err)
	case old.IsDir():
		return refuse("is a directory, choose another output")
	}
	if target, err := os.Stat(path); err == nil {
		if o.isInput(target) {
			return refuse("is an input of this run, choose another output")
		}
		if !target.Mode().IsRegular() {
			return refuse("is not a regular file, choose another output")
		}
	}
	if !o.Overwrite {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	return nil
}

// isInput reports whether target is a file that is being read.
func (o *Options) isInput(target fs.FileInfo) bool {
	return slices.ContainsFunc(o.Inputs, func(input string) bool {
		info, err := os.Stat(input)
		return err == nil && os.SameFile(info, target)
	})
}

// checkRoom returns an error if the disk of dir has no room for the output at path.
func checkRoom(path, dir string, o Options) error {
	if free, ok := o.System.Free(dir); ok && o.Size > free {
		return fmt.Errorf("%s: needs %s, %s more than the disk has free; %s", path, units.Size(o.Size), units.Size(o.Size-free), noRoom)
	}
	return nil
}

func (f *File) wrap(op string, err error) error { return pathError(f.path, op, err) }

// pathError wraps err, an error of the operation op, with path, the file that the
// user asked for. It removes the path of the temporary file from err.
func pathError(path, op string, err error) error {
	var named *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &named):
		err = named.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("%s: %s: %w%s", path, op, err, remedy(err))
}

// noRoom is what to do about a full disk.
const noRoom = "delete something there, or write to another disk"

// remedy says what to do about an error of the file system, after a semicolon; "" if that is
// not known.
func remedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "; write to a folder that is yours"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; " + noRoom
	}
	return ""
}

// Write appends p.
func (f *File) Write(p []byte) (int, error) {
	return f.put(p, func() (int, error) { return f.file.Write(p) })
}

// WriteAt writes p at byte off. It does not move the position at which Write appends.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.put(p, func() (int, error) { return f.file.WriteAt(p, off) })
}

func (f *File) put(p []byte, write func() (int, error)) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := write()
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		f.err = f.wrap("write", err)
	}
	return n, f.err
}

// Commit syncs the file and renames it to its path. On an error it removes the
// temporary file and leaves the path as it was, with one exception: if syncing the
// folder fails, the new file is in place and complete, but a power cut may lose it.
func (f *File) Commit() error {
	if f.err == nil {
		f.err = f.publish()
	}
	if err := f.err; err != nil {
		f.Abort()
		return err
	}
	f.err = fs.ErrClosed
	f.release()
	if err := f.options.System.SyncDir(filepath.Dir(f.path)); err != nil {
		return f.wrap("sync folder", err)
	}
	return nil
}

func (f *File) publish() error {
	if err := f.file.Sync(); err != nil {
		return f.wrap("sync", err)
	}
	err := f.file.Close()
	f.file = nil
	if err != nil {
		return f.wrap("close", err)
	}
	if err := checkTarget(f.path, f.options); err != nil { // another process may have created it since
		return err
	}
	if err := f.options.System.Rename(f.temp, f.path); err != nil {
		return f.wrap("rename", err)
	}
	return nil
}

// Abort removes the temporary file. After Commit or Abort it does nothing.
func (f *File) Abort() {
	if f.err == fs.ErrClosed {
		return
	}
	if f.file != nil {
		f.file.Close()
	}
	f.options.System.Remove(f.temp)
	f.release()
	f.err = fs.ErrClosed
}

// WriteFile writes data to a file at path, which appears complete or not at all.
func WriteFile(path string, data []byte, o Options) error {
	o.Size = int64(len(data))
	f, err := Create(path, o)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}
