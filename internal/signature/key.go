package signature

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"thimble/internal/defect"
)

// PassphraseVariable is the environment variable with the passphrase of an encrypted key.
const PassphraseVariable = "THIMBLE_KEY_PASSPHRASE"

// A Key is a private key.
type Key struct{ signer ssh.Signer }

// ParseKey reads the file of a private ed25519 key that ssh-keygen made. passphrase decrypts
// it if it is encrypted. file names it in errors.
func ParseKey(file string, text []byte, passphrase string) (*Key, error) {
	fault := func(format string, args ...any) (*Key, error) {
		return nil, fmt.Errorf("--key %s: %s", defect.Printable(file), fmt.Sprintf(format, args...))
	}
	if looksPublic(string(text)) {
		return fault("is a public key; give the private one, the file without .pub")
	}
	raw, err := ssh.ParseRawPrivateKey(text)
	if missing := new(ssh.PassphraseMissingError); errors.As(err, &missing) {
		if passphrase == "" {
			return fault("is encrypted; put its passphrase into the environment variable %s, or sign with ssh-keygen, which asks: docs/SECURITY.md has the command", PassphraseVariable)
		}
		raw, err = ssh.ParseRawPrivateKeyWithPassphrase(text, []byte(passphrase))
	}
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return fault("%s does not have its passphrase", PassphraseVariable)
	case err != nil:
		return fault("is not a private key of OpenSSH (%s); ssh-keygen -t ed25519 makes one", defect.Printable(err.Error()))
	}
	switch k := raw.(type) {
	case *ed25519.PrivateKey:
		raw = *k
	case ed25519.PrivateKey:
	default:
		return fault("is of another type than ed25519; ssh-keygen -t ed25519 makes one")
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return fault("%s", defect.Printable(err.Error()))
	}
	return &Key{signer}, nil
}

// Fingerprint returns what "ssh-keygen -l" shows.
func (k *Key) Fingerprint() string { return ssh.FingerprintSHA256(k.signer.PublicKey()) }

// PublicLine returns the line of the key's .pub file, without a comment.
func (k *Key) PublicLine() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.signer.PublicKey())))
}

// looksPublic reports whether text begins as the file of a public key does.
func looksPublic(text string) bool {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return isKeyType(first)
}

// isKeyType reports whether word is the name of a type of keys.
func isKeyType(word string) bool {
	for _, prefix := range []string{"ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"} {
		if strings.HasPrefix(word, prefix) {
			return true
		}
	}
	return false
}
