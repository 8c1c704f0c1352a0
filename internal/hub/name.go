package hub

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode"

	"thimble/internal/defect"
)

const scheme = "hf://"

// IsName reports whether a source of a model is a name on the hub, which only Fetch opens.
func IsName(source string) bool { return strings.HasPrefix(source, scheme) }

// A name is what hf://owner/name[@revision][/path] names, as in huggingface_hub.
type name struct {
	repo     string // owner/name
	revision string // "" for the branch main
	path     string // of a file or a folder in the repository, "" for its root
}

// branch returns the revision to ask for.
func (n name) branch() string {
	if n.revision == "" {
		return "main"
	}
	return n.revision
}

// String returns the name as the user writes it, for a message.
func (n name) String() string {
	s := scheme + n.repo
	if n.revision != "" {
		s += "@" + n.revision
	}
	if n.path != "" {
		s += "/" + n.path
	}
	return defect.Printable(s)
}

// ownerAndName matches the name of an owner, and that of a model.
var ownerAndName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}$`) })

var (
	slashed      = regexp.MustCompile(`^refs/(?:pr/\d+|convert/\w+)`) // revisions with a slash that need no %2F
	revisionText = regexp.MustCompile(`^[\w.-]+(?:/[\w.-]+)*$`)
)

// parse reads a name.
func parse(source string) (n name, err error) {
	bad := func(why string) (name, error) {
		return name{}, fmt.Errorf("%s: %s; want hf://owner/name, hf://owner/name@revision or hf://owner/name/file.gguf", defect.Printable(source), why)
	}
	owner, rest, _ := strings.Cut(strings.TrimPrefix(source, scheme), "/")
	model, rest, _ := strings.Cut(rest, "/")
	model, revision, pinned := strings.Cut(model, "@")
	switch {
	case owner == "datasets" || owner == "spaces":
		return bad("not a model")
	case !ownerAndName().MatchString(owner) || !ownerAndName().MatchString(model) || strings.Contains(model, ".."):
		return bad("not the name of a model on the Hugging Face hub")
	}
	if pinned {
		if whole := revision + "/" + rest; slashed.MatchString(whole) {
			revision = slashed.FindString(whole)
			rest = strings.TrimPrefix(strings.TrimPrefix(whole, revision), "/")
		}
		if revision, err = url.PathUnescape(revision); err != nil || !revisionText.MatchString(revision) || !plain(revision) {
			return bad("the revision after @ is not a branch, a tag or a commit")
		}
	}
	rest = strings.TrimSuffix(rest, "/")
	if rest != "" && !plain(rest) {
		return bad("not a path in a repository")
	}
	return name{owner + "/" + model, revision, rest}, nil
}

// plain reports whether a path of a repository is safe to use below a folder, on every
// operating system.
func plain(file string) bool {
	return file != "" && len(file) < 1024 && path.Clean(file) == file && file != "." && !path.IsAbs(file) && file != ".." && !strings.HasPrefix(file, "../") &&
		!strings.ContainsAny(file, "\\:") && !strings.ContainsFunc(file, unicode.IsControl)
}
