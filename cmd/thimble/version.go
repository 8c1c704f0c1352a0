package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"thimble"
)

// Set by a release build, for example with -ldflags "-X main.version=1.2.0 -X
// main.commit=$(git rev-parse HEAD) -X main.date=2026-11-27T12:00:00Z". What is empty
// comes from the build information that the Go command embeds.
var (
	version string
	commit  string
	date    string // of the commit, RFC 3339
)

const versionHelp = `Prints the version, and the commit, its date, the Go version and the platform
that the program was built with: please add them to a bug report.

Examples:
   thimble version
   thimble version --json | jq .commit`

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "print the version, the commit and the Go version",
		UsageText:   "thimble version [--json]",
		Description: versionHelp,
		Flags:       []cli.Flag{jsonFlag},
		Action: func(c *cli.Context) error {
			if c.NArg() != 0 {
				return errors.New("version takes no arguments; see thimble version --help")
			}
			return print(c, thisBuild())
		},
	}
}

// A build describes how the program was built. An empty field is unknown.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Date     string `json:"date"`     // of the commit, RFC 3339
	Modified bool   `json:"modified"` // the working tree had changes that the commit lacks
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild returns the build of this program.
func thisBuild() *build {
	info, _ := debug.ReadBuildInfo()
	return buildOf(info)
}

// buildOf returns the build of a program with the given build information, which may be
// nil. Values from -ldflags win.
func buildOf(info *debug.BuildInfo) *build {
	b := &build{Version: cmp.Or(version, thimble.Version), Commit: commit, Date: date, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return b
	}
	recorded := map[string]string{}
	for _, s := range info.Settings {
		recorded[s.Key] = s.Value
	}
	if b.Commit == "" { // otherwise the recorded commit and its date may be those of another repository
		b.Commit, b.Date = recorded["vcs.revision"], cmp.Or(b.Date, recorded["vcs.time"])
		b.Modified = recorded["vcs.modified"] == "true"
	}
	if version == "" && info.Main.Version != "" && info.Main.Version != "(devel)" && b.Commit == "" {
		b.Version = info.Main.Version // go install thimble/cmd/thimble@VERSION, from the module cache
	}
	return b
}

// String returns one fact a line.
func (b *build) String() string {
	text := "thimble " + b.Version + "\n"
	text += "  commit    " + cmp.Or(b.Commit, "unknown")
	if b.Modified {
		text += ", modified"
	}
	text += "\n"
	if b.Date != "" {
		text += "  date      " + b.Date + "\n"
	}
	return text + fmt.Sprintf("  go        %s\n  platform  %s\n", b.Go, b.Platform)
}

// line returns b in one line, without "thimble".
func (b *build) line() string {
	text := b.Version + " ("
	if b.Commit != "" {
		text += b.Commit[:min(12, len(b.Commit))]
		if b.Modified {
			text += " modified"
		}
		text += ", "
	}
	if b.Date != "" {
		text += b.Date[:min(len("2006-01-02"), len(b.Date))] + ", "
	}
	return text + b.Go + " " + b.Platform + ")"
}
