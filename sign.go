package thimble

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"thimble/format/gguf"
	container "thimble/format/thimble"
	"thimble/internal/atomicfile"
	"thimble/internal/defect"
	"thimble/internal/mmap"
	"thimble/internal/signature"
)

// SignOptions specify what Sign signs.
type SignOptions struct {
	Model      string // path of a container, a GGUF file or a folder
	Key        string // path of a private ed25519 key of OpenSSH, or "-"
	Passphrase string // of an encrypted key
	Output     string // path of the signature; "" is that of SignaturePath
	Overwrite  bool

	Progress Progress
}

// A Signed is the result of Sign.
type Signed struct {
	Model     string `json:"model"`
	Signature string `json:"signature"`  // path
	Of        string `json:"of"`         // what was signed: "preamble", "file" or "manifest"; see docs/SECURITY.md
	Key       string `json:"key"`        // fingerprint
	PublicKey string `json:"public_key"` // in the form of a .pub file
}

// A SignatureInfo is a signature that was checked.
type SignatureInfo struct {
	Path string `json:"path"`
	Of   string `json:"of"` // as Signed.Of
	signature.Signer
}

// PassphraseVariable is the environment variable that the command takes a key's passphrase from.
const PassphraseVariable = signature.PassphraseVariable

// A RefusedError is the verdict that a signature is not one of the model by a trusted key.
type RefusedError = signature.RefusedError

// SignaturePath returns where the signature of the model at path lies: beside it.
func SignaturePath(path string) string {
	path = filepath.Clean(path)
	if base := filepath.Base(path); base == "." || base == ".." {
		if whole, err := filepath.Abs(path); err == nil {
			path = whole
		}
	}
	return path + ".sig"
}

// Sign writes a signature of a model beside it. A container is checked first. The model must stay
// as it is until it has been read.
func Sign(ctx context.Context, o SignOptions) (*Signed, error) {
	if o.Output == "" {
		o.Output = SignaturePath(o.Model)
	}
	if o.Key == "" {
		return nil, errors.New("sign needs --key FILE, a private key that ssh-keygen -t ed25519 made")
	}
	text, err := ReadText(ctx, "--key", o.Key, signature.MaxFile)
	if err != nil {
		return nil, err
	}
	key, err := signature.ParseKey(o.Key, []byte(text), o.Passphrase)
	if err != nil {
		return nil, err
	}
	files, err := signedFiles(o.Model)
	if err != nil {
		return nil, err
	}
	out := atomicfile.Options{Overwrite: o.Overwrite, Inputs: append(files.paths, o.Key)}
	if err := forceHint(atomicfile.Check(o.Output, out)); err != nil {
		return nil, err
	}
	if files.of == signedPreamble {
		if err := container.Check(ctx, o.Model, o.Progress.stage("check", Bytes)); err != nil {
			return nil, err
		}
	}
	made, err := key.Sign(files.message(ctx, o.Progress))
	if err != nil {
		return nil, err
	}
	if err := files.changed(); err != nil {
		return nil, err
	}
	if err := forceHint(atomicfile.WriteFile(o.Output, made, out)); err != nil {
		return nil, err
	}
	return &Signed{Model: o.Model, Signature: o.Output, Of: files.of, Key: key.Fingerprint(), PublicKey: key.PublicLine()}, nil
}

// What a signature is of.
const (
	signedPreamble = "preamble" // the first bytes of a container, with the digest of its header
	signedFile     = "file"
	signedManifest = "manifest" // the digests and names of several files, as sha256sum prints them
)

// signed are the files of a model that a signature covers.
type signed struct {
	model        string // path
	of           string
	names, paths []string
	preamble     []byte
	infos        []fs.FileInfo // of paths, before they were read
}

// signedFiles returns what a signature of the model at path covers.
func signedFiles(path string) (s signed, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return s, err
	}
	s = signed{model: path, paths: []string{path}, infos: []fs.FileInfo{info}}
	switch name := formatOf(path); {
	case info.IsDir():
		s.of = signedManifest
		if s.names, s.paths, err = signature.Folder(path); err != nil {
			return s, err
		}
		return s, s.stat()
	case name == container.Name:
		info, err := container.Inspect(path)
		if err != nil {
			return s, err
		}
		s.of, s.preamble = signedPreamble, info.Preamble
		return s, nil
	case name != gguf.Name:
		return s, fmt.Errorf("%s: only .thimble and .gguf files can be signed, and folders; sign the folder of this file, because other files belong to it", defect.Printable(path))
	}
	m, err := Open(path)
	if err != nil {
		return s, err
	}
	defer m.Close()
	s.of = signedFile
	if len(m.Files) > 1 { // split
		s.of, s.paths = signedManifest, m.Files
		for _, part := range m.Files {
			s.names = append(s.names, filepath.Base(part))
		}
	}
	return s, s.stat()
}

// stat sets infos.
func (s *signed) stat() error {
	s.infos = make([]fs.FileInfo, len(s.paths))
	for i, path := range s.paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		s.infos[i] = info
	}
	return nil
}

// changed returns an error if the files are not what they were when they were listed. What was
// read may then be of no model that ever was there.
func (s *signed) changed() error {
	now, err := signedFiles(s.model)
	if err != nil {
		return err
	}
	if !slices.Equal(now.paths, s.paths) {
		return fmt.Errorf("%s: files were added or removed while it was read; run the command again", defect.Printable(s.model))
	}
	for i, path := range s.paths {
		if err := mmap.Compare(path, s.infos[i], now.infos[i]); err != nil {
			return err
		}
	}
	return nil
}

// message returns the bytes that a signature is of.
func (s *signed) message(ctx context.Context, progress Progress) signature.Message {
	report := progress.stage("hash", Bytes)
	switch s.of {
	case signedPreamble:
		return signature.Bytes(s.preamble)
	case signedFile:
		return signature.File(ctx, s.paths[0], report)
	}
	return signature.Manifest(ctx, s.names, s.paths, report)
}

// trusted returns the signature of the model, which a key of o.Trust must have made. A caller
// compares the digests of a container afterwards.
func (o *InspectOptions) trusted(ctx context.Context) (*SignatureInfo, error) {
	path := o.Signature
	if path == "" {
		path = SignaturePath(o.Model)
	}
	text, err := ReadText(ctx, "--trust", o.Trust, signature.MaxTrust)
	if err != nil {
		return nil, err
	}
	trust, err := signature.ParseTrust(o.Trust, []byte(text))
	if err != nil {
		return nil, err
	}
	text, err = ReadText(ctx, "--signature", path, signature.MaxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: there is no signature %s; download it from where the model is, or name it with --signature", defect.Printable(o.Model), defect.Printable(path))
	}
	if err != nil {
		return nil, err
	}
	s, err := signature.Parse(path, []byte(text))
	if err != nil {
		return nil, err
	}
	files, err := signedFiles(o.Model)
	if err != nil {
		return nil, err
	}
	signer, err := trust.Check(s, files.message(ctx, o.Progress), time.Now(), path, o.Model)
	if changed := files.changed(); changed != nil { // then a verdict would be about neither state
		return nil, changed
	}
	if err != nil {
		return nil, err
	}
	return &SignatureInfo{Path: path, Of: files.of, Signer: *signer}, nil
}
