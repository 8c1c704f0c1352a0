package manual

import "github.com/urfave/cli/v2"

// CommandNames returns the names of the commands that are not hidden.
func CommandNames(app *cli.App) (names []string) {
	for _, cmd := range app.Commands {
		if !cmd.Hidden {
			names = append(names, cmd.Name)
		}
	}
	return names
}

// FlagNamed returns cmd's flag with the given name, without dashes, or nil.
func FlagNamed(cmd *cli.Command, name string) cli.DocGenerationFlag {
	for _, f := range cmd.Flags {
		for _, n := range f.Names() {
			if n == name {
				return f.(cli.DocGenerationFlag)
			}
		}
	}
	return nil
}

// LongNames returns the names of flags that have more than one letter.
func LongNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		for _, name := range f.Names() {
			if len(name) > 1 {
				names = append(names, name)
			}
		}
	}
	return names
}

// Dashed returns the name of a flag with its dashes.
func Dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
