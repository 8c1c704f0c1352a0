package signature

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"thimble/internal/defect"
	"thimble/internal/digest"
)

// Bytes returns the message that consists of b.
func Bytes(b []byte) Message {
	return func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	}
}

// File returns the message that consists of the bytes of a file. progress, which may be nil,
// is called with the bytes read so far and their number.
func File(ctx context.Context, path string, progress func(done, total int64)) Message {
	return func(w io.Writer) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		buf, done := make([]byte, 1<<20), int64(0)
		for {
			if err := ctx.Err(); err != nil {
				return err
			}
			n, err := f.Read(buf)
			w.Write(buf[:n]) // a hash has no errors
			done += int64(n)
			if progress != nil {
				progress(done, info.Size())
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// Manifest returns the message that lists files as sha256sum prints them: a line with digest
// and name for each, in the order of the names. names[i] is the name of paths[i].
func Manifest(ctx context.Context, names, paths []string, progress func(done, total int64)) Message {
	return func(w io.Writer) error {
		for i, name := range names {
			if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '\\' }) {
				return fmt.Errorf("%s: a name with such characters cannot be signed; rename the file", defect.Printable(paths[i]))
			}
		}
		sums, err := digest.Files(ctx, paths, progress)
		if err != nil {
			return err
		}
		order := make([]int, len(names))
		for i := range order {
			order[i] = i
		}
		slices.SortFunc(order, func(i, j int) int { return strings.Compare(names[i], names[j]) })
		for _, i := range order {
			fmt.Fprintf(w, "%x  %s\n", sums[i].SHA256, names[i]) // a hash has no errors
		}
		return nil
	}
}

// maxDepth is the most folders in folders of one that is signed.
const maxDepth = 8

// Folder lists the files below a folder, with their names relative to it, which have slashes.
// It leaves out what begins with a dot in the folder itself, such as .git and .cache, and
// follows links to files.
func Folder(path string) (names, paths []string, err error) {
	var list func(prefix string, depth int) error
	list = func(prefix string, depth int) error {
		entries, err := os.ReadDir(filepath.Join(path, filepath.FromSlash(prefix)))
		if err != nil {
			return err
		}
		for _, e := range entries {
			name := prefix + e.Name()
			file := filepath.Join(path, filepath.FromSlash(name))
			info, err := os.Stat(file)
			switch {
			case depth == 0 && strings.HasPrefix(name, "."):
				continue
			case err != nil:
				return err
			case info.IsDir() && (depth == maxDepth || e.Type()&os.ModeSymlink != 0):
				return fmt.Errorf("%s: is a link to a folder, or more than %d folders deep; sign a folder without it", defect.Printable(file), maxDepth)
			case info.IsDir():
				if err := list(name+"/", depth+1); err != nil {
					return err
				}
			case !info.Mode().IsRegular():
				return fmt.Errorf("%s: is not a file; sign a folder without it", defect.Printable(file))
			default:
				names, paths = append(names, name), append(paths, file)
			}
		}
		return nil
	}
	if err := list("", 0); err != nil {
		return nil, nil, err
	}
	if len(names) == 0 {
		return nil, nil, errors.New(defect.Printable(path) + ": has no files to sign")
	}
	return names, paths, nil
}
