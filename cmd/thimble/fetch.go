package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"thimble"
	"thimble/internal/hub"
)

// fetch replaces each path that is a name on the Hugging Face hub, hf://owner/name, by that
// of the model in the hub's cache, after it has downloaded what the cache lacks. So it does
// with the adapters of --lora in set. A command calls it last before its work, when nothing
// is wrong with its options. No other function uses the network.
func fetch(c *cli.Context, set []string, paths ...*string) error {
	for i := range set {
		if path, ok := strings.CutPrefix(set[i], "--"+loraFlag.Name+"="); ok {
			if err := fetch(c, nil, &path); err != nil {
				return err
			}
			set[i] = "--" + loraFlag.Name + "=" + path
		}
	}
	for _, path := range paths {
		if !hub.IsName(*path) {
			continue
		}
		progress := newMeter(c)
		local, err := hub.Fetch(c.Context, *path, func(done, total int64) {
			progress.Step(thimble.Step{Stage: "download", Unit: thimble.Bytes, Done: done, Total: total})
		})
		progress.Done()
		if err != nil {
			return err
		}
		*path = local
	}
	return nil
}
