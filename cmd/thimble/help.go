package main

import (
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/cmd/thimble/internal/manual"
)

func init() { cli.HelpPrinter = manual.Help }

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "explain a command",
		UsageText: "thimble help [COMMAND]",
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case c.NArg() == 0:
				manual.Help(c.App.Writer, "", c.App)
			case c.NArg() > 1:
				return errors.New("help explains one command; see thimble --help")
			case c.App.Command(name) == nil:
				return unknownCommand(c.App, name)
			default:
				manual.Help(c.App.Writer, "", c.App.Command(name))
			}
			return nil
		},
	}
}

func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "man",
		Usage:     "print a manual page",
		UsageText: "thimble man [COMMAND]",

		HideHelpCommand: true, // "thimble man help" is the page of help
		Description: "Prints the manual page of a command, or of thimble itself, in the format of man.\n" +
			"Packages install these pages.\n\n" +
			"Examples:\n" +
			"   thimble man quantize | man -l -\n" +
			"   thimble man > thimble.1",
		Action: func(c *cli.Context) error {
			name := c.Args().First()
			cmd := c.App.Command(name)
			switch {
			case c.NArg() > 1:
				return errors.New("man prints one page; see thimble man --help")
			case c.NArg() == 1 && (cmd == nil || cmd.Hidden):
				return unknownCommand(c.App, name)
			}
			_, err := io.WriteString(c.App.Writer, manual.Page(c.App, cmd, thimble.Version))
			return err
		},
	}
}
