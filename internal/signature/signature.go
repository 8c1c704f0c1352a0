// Package signature signs models and checks their signatures, with ed25519 keys, in the
// formats of OpenSSH: what Sign writes, "ssh-keygen -Y verify" accepts, and the other way
// round. https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig defines
// the signature.
package signature

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"hash"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"thimble/internal/defect"
)

// Namespace says what a signature is for, so that one made for a commit or a mail is not one
// of a model. It is the value of -n for ssh-keygen.
const Namespace = "thimble"

// MaxFile is the largest file with a key or a signature, in bytes.
const MaxFile = 1 << 16

// A Message writes the bytes that are signed.
type Message func(w io.Writer) error

// A Signature is one that was read, and not yet compared with anything.
type Signature struct {
	key       ssh.PublicKey
	namespace string
	hash      string
	signature ssh.Signature
}

// The text that encloses a signature, the bytes that begin it, and the columns of its text.
const (
	armorBegin = "-----BEGIN SSH SIGNATURE-----"
	armorEnd   = "-----END SSH SIGNATURE-----"
	magic      = "SSHSIG"
	columns    = 70
)

// A blob is a signature as it is stored, after magic.
type blob struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

// A statement is what the key signs, after magic.
type statement struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    []byte
}

// hashes has the functions that a message may be hashed with.
var hashes = map[string]func() hash.Hash{"sha512": sha512.New, "sha256": sha256.New}

// digest returns the statement about a message.
func (m Message) digest(namespace, hash string) ([]byte, error) {
	h := hashes[hash]()
	if err := m(h); err != nil {
		return nil, err
	}
	return append([]byte(magic), ssh.Marshal(statement{Namespace: namespace, Hash: hash, Digest: h.Sum(nil)})...), nil
}

// Sign returns the signature of a message as text. The same key and message give the same
// text, which is also that of ssh-keygen.
func (k *Key) Sign(m Message) ([]byte, error) {
	const hash = "sha512"
	data, err := m.digest(Namespace, hash)
	if err != nil {
		return nil, err
	}
	s, err := k.signer.Sign(rand.Reader, data) // ed25519 needs no randomness
	if err != nil {
		return nil, err
	}
	raw := append([]byte(magic), ssh.Marshal(blob{
		Version: 1, PublicKey: k.signer.PublicKey().Marshal(), Namespace: Namespace, Hash: hash, Signature: ssh.Marshal(s),
	})...)
	var text bytes.Buffer
	text.WriteString(armorBegin + "\n")
	for line := base64.StdEncoding.EncodeToString(raw); line != ""; {
		n := min(columns, len(line))
		text.WriteString(line[:n] + "\n")
		line = line[n:]
	}
	text.WriteString(armorEnd + "\n")
	return text.Bytes(), nil
}

// Parse reads a signature. file names it in errors.
func Parse(file string, text []byte) (*Signature, error) {
	corrupt := func(format string, args ...any) (*Signature, error) {
		return nil, defect.Corrupt(file, "", format+"; sign the model again", args...)
	}
	inner, ok := strings.CutPrefix(strings.TrimSpace(string(text)), armorBegin)
	if inner, ok2 := strings.CutSuffix(inner, armorEnd); ok && ok2 {
		text = []byte(strings.Join(strings.Fields(inner), ""))
	} else {
		return corrupt("is not a signature of ssh-keygen, which begins with %s", armorBegin)
	}
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return corrupt("%v", err)
	}
	raw, ok = bytes.CutPrefix(raw, []byte(magic))
	var b blob
	if !ok || ssh.Unmarshal(raw, &b) != nil {
		return corrupt("is not a signature, or damaged")
	}
	s := &Signature{namespace: b.Namespace, hash: b.Hash}
	if b.Version != 1 {
		return nil, defect.Unsupported(file, "version %d of signatures", b.Version)
	}
	if hashes[b.Hash] == nil {
		return nil, defect.Unsupported(file, "the hash %s", defect.Printable(b.Hash))
	}
	if s.key, err = ssh.ParsePublicKey(b.PublicKey); err != nil {
		return corrupt("its public key is damaged: %s", defect.Printable(err.Error()))
	}
	if t := s.key.Type(); t != ssh.KeyAlgoED25519 {
		return nil, defect.Unsupported(file, "a signature by a key of type %s, only %s,", defect.Printable(t), ssh.KeyAlgoED25519)
	}
	if ssh.Unmarshal(b.Signature, &s.signature) != nil || len(s.signature.Rest) > 0 || len(s.signature.Blob) != ed25519.SignatureSize || s.signature.Format != ssh.KeyAlgoED25519 {
		return corrupt("is not one of ed25519")
	}
	return s, nil
}

// Fingerprint returns the fingerprint of the key that made s, as "ssh-keygen -l" shows it.
func (s *Signature) Fingerprint() string { return ssh.FingerprintSHA256(s.key) }

// errOther is the error for a signature that is not of the message.
var errOther = errors.New("is the signature of other bytes")

// check returns errOther if s is not a signature of m.
func (s *Signature) check(m Message) error {
	data, err := m.digest(s.namespace, s.hash)
	if err != nil {
		return err
	}
	if s.key.Verify(data, &s.signature) != nil {
		return errOther
	}
	return nil
}
