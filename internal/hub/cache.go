package hub

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"thimble/internal/defect"
)

// A cache is the directory that huggingface_hub shares between programs (constants.py):
// models--OWNER--NAME with blobs/HASH, snapshots/COMMIT/FILE, which links to a blob, and
// refs/BRANCH, which holds a commit.
type cache struct{ root string }

// home returns the directory of Hugging Face's programs, or "".
func home() string {
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return expanded(dir)
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(expanded(dir), "huggingface")
	}
	if dir, err := os.UserHomeDir(); err == nil {
		return filepath.Join(dir, ".cache", "huggingface")
	}
	return ""
}

// expanded replaces a leading ~, which environment files may have.
func expanded(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if dir, err := os.UserHomeDir(); err == nil {
			return filepath.Join(dir, rest)
		}
	}
	return path
}

func openCache() cache {
	dir := cmp.Or(os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE"))
	if dir != "" {
		return cache{expanded(dir)}
	}
	return cache{filepath.Join(home(), "hub")}
}

func (c cache) folder(repo string) string {
	return filepath.Join(c.root, "models--"+strings.ReplaceAll(repo, "/", "--"))
}

func (c cache) blob(repo, hash string) string { return filepath.Join(c.folder(repo), "blobs", hash) }

func (c cache) snapshot(repo, commit string) string {
	return filepath.Join(c.folder(repo), "snapshots", commit)
}

// lockFile returns the path of the file that huggingface_hub locks while it downloads a blob.
func (c cache) lockFile(repo, hash string) string {
	return filepath.Join(c.root, ".locks", filepath.Base(c.folder(repo)), hash+".lock")
}

func (c cache) ref(repo, revision string) string {
	return filepath.Join(c.folder(repo), "refs", filepath.FromSlash(revision))
}

var commitText = regexp.MustCompile(`^[0-9a-f]{40}$`)

// resolve returns the commit that the cache knows for a revision, or "".
func (c cache) resolve(repo, revision string) string {
	if commitText.MatchString(revision) {
		return revision
	}
	b, err := os.ReadFile(c.ref(repo, revision))
	if commit := strings.TrimSpace(string(b)); err == nil && commitText.MatchString(commit) {
		return commit
	}
	return ""
}

// point records that revision is commit.
func (c cache) point(repo, revision, commit string) error {
	path := c.ref(repo, revision)
	if revision == commit || c.resolve(repo, revision) == commit {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(commit), 0o666)
}

// link makes file of a snapshot point to a blob. Where links cannot be made, as on Windows
// without its developer mode, the blob moves there, as in huggingface_hub.
func (c cache) link(repo, commit, file, hash string) error {
	to := filepath.Join(c.snapshot(repo, commit), filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(to), c.blob(repo, hash))
	if err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, to); err == nil || errors.Is(err, fs.ErrExist) { // another process was faster
		return nil
	}
	return os.Rename(c.blob(repo, hash), to)
}

// files returns the files of a snapshot, by their paths in the repository; links to nothing are
// not among them.
func (c cache) files(repo, commit string) (files []string) {
	root := c.snapshot(repo, commit)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read is not there
		}
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			if rel, err := filepath.Rel(root, path); err == nil {
				files = append(files, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	slices.Sort(files)
	return files
}

// offline returns the files of a model that the cache holds.
func (c cache) offline(n name) (commit string, files []string, err error) {
	if commit = c.resolve(n.repo, n.branch()); commit != "" {
		files = c.files(n.repo, commit)
	}
	if len(files) == 0 {
		return "", nil, fmt.Errorf("%s: HF_HUB_OFFLINE is set, and %s has no copy of it; unset HF_HUB_OFFLINE to download it", n, defect.Printable(c.root))
	}
	return commit, files, nil
}
