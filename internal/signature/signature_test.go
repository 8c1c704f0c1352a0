package signature

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"thimble/internal/defect"
)

// read reads a file that ssh-keygen made.
func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func testKey(t *testing.T) *Key {
	t.Helper()
	key, err := ParseKey("key", read(t, "key"), "")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Our signature is ssh-keygen's to the byte.
func TestSign(t *testing.T) {
	got, err := testKey(t).Sign(Bytes(read(t, "message")))
	if err != nil || !bytes.Equal(got, read(t, "sha512.sig")) {
		t.Errorf("%v\n%s", err, got)
	}
}

// What ssh-keygen signed is accepted, and nothing else.
func TestCheck(t *testing.T) {
	message := string(read(t, "message"))
	public := string(read(t, "key.pub"))
	signers := "carol@example.org " + string(read(t, "ecdsa.pub")) + "# a comment\n\nalice@example.org,*@example.net "
	now := time.Date(2030, 6, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name, signature, message, trust string
		refused                         string // "" is accepted
	}{
		{"a public key", "sha512.sig", message, public, ""},
		{"SHA-256", "sha256.sig", message, public, ""},
		{"allowed_signers", "sha512.sig", message, signers + public, ""},
		{"its namespace", "sha512.sig", message, signers + `namespaces="git,thim*" ` + public, ""},
		{"quoted principals", "sha512.sig", message, `"alice@example.org" ` + public, ""},
		{"times", "sha512.sig", message, signers + `valid-after="20300531Z",valid-before="203006010001Z" ` + public, ""},
		{"a second line", "sha512.sig", message, signers + "cert-authority " + public + "alice " + public, ""},
		{"another message", "sha512.sig", message + "x", public, "was changed after it was signed"},
		{"another key", "sha512.sig", message, string(read(t, "encrypted.pub")), "which is not in keys"},
		{"the namespace file", "namespace.sig", message, public, "is for the namespace file"},
		{"another namespace", "sha512.sig", message, signers + `namespaces="git,thim" ` + public, "do not include thimble"},
		{"a negated namespace", "sha512.sig", message, signers + `namespaces="*,!thimble" ` + public, "do not include thimble"},
		{"too early", "sha512.sig", message, signers + `valid-after="20300602Z" ` + public, "is valid only after 2030-06-02"},
		{"too late", "sha512.sig", message, signers + `valid-before="20300601000000Z" ` + public, "was valid only before 2030-06-01"},
		{"an authority", "sha512.sig", message, signers + "cert-authority " + public, "authority for certificates"},
		{"an unknown option", "sha512.sig", message, signers + `verify-required ` + public, "option verify-required is unknown"},
	} {
		trust, err := ParseTrust("keys", []byte(c.trust))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		s, err := Parse(c.signature, read(t, c.signature))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		signer, err := trust.Check(s, Bytes([]byte(c.message)), now, c.signature, "model")
		if refused := new(RefusedError); c.refused != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.refused)
		}
		if c.refused == "" && (err != nil || signer.Key != testKey(t).Fingerprint() || signer.Comment != "alice@example.org") {
			t.Errorf("%s: %+v, %v", c.name, signer, err)
		}
	}
	s, err := Parse("s", read(t, "sha512.sig"))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := ParseTrust("keys", []byte(signers+public))
	if err != nil {
		t.Fatal(err)
	}
	if signer, err := trust.Check(s, Bytes([]byte(message)), now, "s", "model"); err != nil || signer.Principals != "alice@example.org,*@example.net" {
		t.Errorf("%+v, %v", signer, err)
	}
	gone := File(t.Context(), filepath.Join(t.TempDir(), "none"), nil)
	if _, err := trust.Check(s, gone, now, "s", "model"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// Every flipped bit of a signature is found, also below its base64.
func TestFlipped(t *testing.T) {
	trust, err := ParseTrust("keys", read(t, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	message := Bytes(read(t, "message"))
	text := string(read(t, "sha512.sig"))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	raw, err := base64.StdEncoding.DecodeString(strings.Join(lines[1:len(lines)-1], ""))
	if err != nil {
		t.Fatal(err)
	}
	check := func(raw []byte) error {
		s, err := Parse("s", []byte(armorBegin+"\n"+base64.StdEncoding.EncodeToString(raw)+"\n"+armorEnd))
		if err == nil {
			_, err = trust.Check(s, message, time.Now(), "s", "model")
		}
		return err
	}
	if err := check(raw); err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		flipped := bytes.Clone(raw)
		flipped[i] ^= 1 << (i % 8)
		if check(flipped) == nil {
			t.Errorf("byte %d: accepted", i)
		}
		if check(raw[:i]) == nil {
			t.Errorf("%d bytes: accepted", i)
		}
	}
	if check(append(raw, 0)) == nil {
		t.Error("a byte more: accepted")
	}
}

func TestParse(t *testing.T) {
	raw := func(b blob) []byte {
		return []byte(armorBegin + base64.StdEncoding.EncodeToString(append([]byte(magic), ssh.Marshal(b)...)) + armorEnd)
	}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":         {nil, "begins with -----BEGIN SSH SIGNATURE-----"},
		"a key":           {read(t, "key"), "begins with -----BEGIN SSH SIGNATURE-----"},
		"no base64":       {[]byte(armorBegin + "*" + armorEnd), "illegal base64"},
		"no magic":        {[]byte(armorBegin + "AAAA" + armorEnd), "or damaged"},
		"another type":    {read(t, "ecdsa.sig"), "by a key of type ecdsa-sha2-nistp256"},
		"another version": {raw(blob{Version: 2}), "version 2"},
		"another hash":    {raw(blob{Version: 1, Hash: "md5\n"}), `the hash "md5\n"`},
		"no key":          {raw(blob{Version: 1, Hash: "sha512"}), "its public key is damaged"},
	} {
		if _, err := Parse("s", c.text); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := Parse("s", read(t, "ecdsa.sig")); !errors.Is(err, defect.ErrUnsupported) {
		t.Error(err)
	}
}

func TestParseKey(t *testing.T) {
	if key, err := ParseKey("k", read(t, "encrypted"), "correct horse"); err != nil || !strings.HasPrefix(string(read(t, "encrypted.pub")), key.PublicLine()+" ") {
		t.Error(key, err)
	}
	for _, c := range []struct{ file, passphrase, want string }{
		{"encrypted", "", "is encrypted; put its passphrase into the environment variable THIMBLE_KEY_PASSPHRASE"},
		{"encrypted", "wrong", "THIMBLE_KEY_PASSPHRASE does not have its passphrase"},
		{"key.pub", "", "is a public key; give the private one"},
		{"ecdsa", "", "is of another type than ed25519"},
		{"message", "", "is not a private key of OpenSSH"},
	} {
		if _, err := ParseKey(c.file, read(t, c.file), c.passphrase); err == nil || !strings.HasPrefix(err.Error(), "--key "+c.file+": ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.file, err, c.want)
		}
	}
}

func TestParseTrust(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{string(read(t, "key")), "is a private key; give the public one"},
		{string(read(t, "sha512.sig")), "is a signature; give the public key"},
		{string(read(t, "ecdsa.pub")), "has no ssh-ed25519 key"},
		{"", "has no ssh-ed25519 key"},
		{"\nalice ssh-ed25519 AAAA\n", "line 2: is neither a public key nor"},
		{"alice valid-after=\"tomorrow\" " + string(read(t, "key.pub")), "line 1: tomorrow is not a time"},
		{"alice valid-before=20301301 " + string(read(t, "key.pub")), "line 1: 20301301 is not a time"},
	} {
		if _, err := ParseTrust("keys", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), "--trust keys: "+c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}

// The program itself accepts our signatures, and makes the same.
func TestProgram(t *testing.T) {
	program, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("there is no ssh-keygen")
	}
	if testing.Short() {
		t.Skip("starts other programs")
	}
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	message := []byte("another model\x00\n")
	made, err := testKey(t).Sign(Bytes(message))
	if err != nil {
		t.Fatal(err)
	}
	signers := append([]byte("alice@example.org namespaces=\"thimble\" "), read(t, "key.pub")...)
	ours := write("ours.sig", made)
	verify := func(message []byte) ([]byte, error) {
		c := exec.Command(program, "-Y", "verify", "-f", write("allowed_signers", signers), "-I", "alice@example.org", "-n", Namespace, "-s", ours)
		c.Stdin = bytes.NewReader(message)
		return c.CombinedOutput()
	}
	if out, err := verify(message); err != nil || !bytes.Contains(out, []byte(`Good "thimble" signature for alice@example.org`)) {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := verify(message[1:]); err == nil {
		t.Errorf("another message: %s", out)
	}
	c := exec.Command(program, "-Y", "sign", "-f", write("key", read(t, "key")), "-n", Namespace)
	c.Stdin = bytes.NewReader(message)
	if theirs, err := c.Output(); err != nil || !bytes.Equal(theirs, made) {
		t.Errorf("%v: %s", err, theirs)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"sha512.sig", "sha256.sig", "namespace.sig", "ecdsa.sig", "key"} {
		f.Add(read(f, name))
	}
	trust, err := ParseTrust("keys", read(f, "key.pub"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse("s", text)
		if err != nil {
			return
		}
		if s.Fingerprint() == "" {
			t.Error("no fingerprint")
		}
		if _, err := trust.Check(s, Bytes([]byte("never signed")), time.Now(), "s", "model"); err == nil {
			t.Error("accepted")
		}
	})
}

func FuzzParseTrust(f *testing.F) {
	f.Add(read(f, "key.pub"))
	f.Add([]byte("*,!mallory namespaces=\"thimble\",valid-after=\"20300101\" " + string(read(f, "key.pub")) + "#\n\"a b\" cert-authority " + string(read(f, "ecdsa.pub"))))
	s, err := Parse("s", read(f, "sha512.sig"))
	if err != nil {
		f.Fatal(err)
	}
	message, key := Bytes(read(f, "message")), strings.Fields(string(read(f, "key.pub")))[1]
	f.Fuzz(func(t *testing.T, text []byte) {
		trust, err := ParseTrust("keys", text)
		if err != nil {
			return
		}
		if _, err := trust.Check(s, message, time.Now(), "s", "model"); err == nil && !strings.Contains(string(text), key[:40]) {
			t.Error("trusts a key that the file lacks")
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, name := range []string{"key", "encrypted", "ecdsa", "key.pub"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if key, err := ParseKey("k", text, ""); err == nil && key.Fingerprint() == "" {
			t.Error("no fingerprint")
		}
	})
}
