// Package atomicfile writes a file that is either whole or not there: into a
// temporary file of the same folder, which is synced and renamed into place.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Options say what Create may replace and what it should expect.
type Options struct {
	Overwrite bool     // an existing regular file may be replaced
	Inputs    []string // files that are being read and must not be replaced, whatever Overwrite says
	Size      int64    // bytes that will be written, or 0 when unknown: checked against the free space
	System    System   // the file system to use; nil is the operating system's
}

// A File is being written. It appears under its name at Commit and not before.
// Its methods fail for good after the first error.
type File struct {
	path, temp string
	options    Options
	file       Handle
	err        error // the first failure; fs.ErrClosed once done
}

// Create begins to write the file at path.
func Create(path string, o Options) (*File, error) {
	if o.System == nil {
		o.System = system{}
	}
	f := &File{path: path, options: o}
	if err := refused(path, o); err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if free, ok := o.System.Free(dir); ok && o.Size > free {
		return nil, fmt.Errorf("%s: needs %d bytes, the disk has %d free", path, o.Size, free)
	}
	for {
		// Hidden, of no format's extension and of a length that fits whatever
		// the length of the name it stands for.
		f.temp = filepath.Join(dir, ".thimble-"+rand.Text()+".partial")
		var err error
		f.file, err = o.System.Create(f.temp)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, f.fault("create", err)
		}
	}
}

// Check finds before any work why Create could not put a file at path: what is
// there, or the folder that is not. fs.ErrExist means that Overwrite would replace it.
func Check(path string, o Options) error {
	if err := refused(path, o); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fault(path, "the folder that it would be in does not exist", err)
	}
	return nil
}

// refused returns the error with which Create refuses what is at path.
func refused(path string, o Options) error {
	refuse := func(why string) error { return fmt.Errorf("%s: %s", path, why) }
	old, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault(path, "look up", err)
	case old.IsDir():
		return refuse("is a directory")
	}
	if target, err := os.Stat(path); err == nil {
		for _, input := range o.Inputs {
			if info, err := os.Stat(input); err == nil && os.SameFile(info, target) {
				return refuse("is an input of this run, choose another output")
			}
		}
		if !target.Mode().IsRegular() {
			return refuse("is not a regular file")
		}
	}
	if !o.Overwrite {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	return nil
}

func (f *File) fault(verb string, err error) error { return fault(f.path, verb, err) }

// fault names the file that the user asked for rather than the temporary one.
func fault(path, verb string, err error) error {
	var named *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &named):
		err = named.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return fmt.Errorf("%s: %s: %w", path, verb, err)
}

// Write appends p.
func (f *File) Write(p []byte) (int, error) {
	return f.put(p, func() (int, error) { return f.file.Write(p) })
}

// WriteAt writes p at byte off, leaving the place where Write appends alone.
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
		f.err = f.fault("write", err)
	}
	return n, f.err
}

// Commit makes what was written durable and gives it its name. On an error
// the temporary file is removed and what was at the name before stays; only
// when syncing the folder fails is the new file there, whole, but not yet safe
// from a power cut.
func (f *File) Commit() error {
	if f.err == nil {
		f.err = f.publish()
	}
	if err := f.err; err != nil {
		f.Abort()
		return err
	}
	f.err = fs.ErrClosed
	if err := f.options.System.SyncDir(filepath.Dir(f.path)); err != nil {
		return f.fault("sync folder", err)
	}
	return nil
}

func (f *File) publish() error {
	if err := f.file.Sync(); err != nil {
		return f.fault("sync", err)
	}
	err := f.file.Close()
	f.file = nil
	if err != nil {
		return f.fault("close", err)
	}
	if err := refused(f.path, f.options); err != nil { // somebody else may have written it meanwhile
		return err
	}
	if err := f.options.System.Rename(f.temp, f.path); err != nil {
		return f.fault("rename", err)
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
	f.err = fs.ErrClosed
}

// WriteFile writes a file that appears whole or not at all.
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
