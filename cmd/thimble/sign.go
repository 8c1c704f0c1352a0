package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/defect"
	"thimble/internal/hub"
)

const signHelp = `Writes FILE.sig, a signature that inspect --trust and ssh-keygen check: who
received both files knows that they come from the owner of the key, and that no
byte has changed. FILE is a container, whose digests are checked first, a GGUF
file or a folder, and stays as it is.

--key is a private key of the type ed25519, as ssh-keygen -t ed25519 makes it;
--key - reads it from standard input. If it is encrypted, its passphrase is taken
from the environment variable ` + thimble.PassphraseVariable + `. Publish the public key, the file
that ends in .pub, where the model is not.

These commands sign the same bytes, and ssh-keygen -Y verify takes the same:
   head -c 72 smol.thimble | ssh-keygen -Y sign -n thimble -f KEY
   ssh-keygen -Y sign -n thimble -f KEY < smol.gguf
   (cd smol-mlx && LC_ALL=C sha256sum *) | ssh-keygen -Y sign -n thimble -f KEY
The first 72 bytes of a container hold the SHA-256 of its header, and that the
SHA-256 of every tensor. docs/SECURITY.md has more.

Examples:
   ssh-keygen -t ed25519 -f release-key
   thimble sign smol.thimble --key release-key
   thimble sign smol.gguf --key ~/.ssh/id_ed25519 --json
   thimble inspect smol.thimble --trust release-key.pub
   thimble inspect smol.thimble --trust allowed_signers`

func signCommand() *cli.Command {
	return &cli.Command{
		Name:        "sign",
		Usage:       "sign a file with an ssh key, for inspect --trust",
		UsageText:   "thimble sign FILE --key KEY [-o FILE.sig] [--force]",
		Description: signHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "key", Usage: "sign with the private ed25519 key in `FILE`"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the signature to `FILE` (default: beside the model, with .sig appended)"},
			forceFlag, jsonFlag, quietFlag,
		},
		Action: signAction,
	}
}

func signAction(c *cli.Context) error {
	path, err := oneModel(c)
	if err != nil {
		return err
	}
	if hub.IsName(path) {
		return fmt.Errorf("sign takes a file or folder of yours, to publish its signature with it; download %s first", defect.Printable(path))
	}
	progress := newMeter(c)
	defer progress.Done()
	r, err := thimble.Sign(c.Context, thimble.SignOptions{
		Model: path, Key: c.String("key"), Passphrase: os.Getenv(thimble.PassphraseVariable), Output: c.String(outFlag.Name),
		Overwrite: c.Bool(forceFlag.Name), Progress: progress.Step,
	})
	if err != nil {
		return err
	}
	progress.Done()
	return printText(c, r, func() string {
		return fmt.Sprintf("wrote %s, by the key %s\n", defect.Printable(r.Signature), r.Key) +
			fmt.Sprintf("to check it, thimble inspect %s --trust FILE, which holds\n%s\n", defect.Printable(r.Model), strings.TrimSpace(r.PublicKey))
	})
}
