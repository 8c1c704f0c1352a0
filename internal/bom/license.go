package bom

import (
	"bytes"
	"cmp"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"thimble/internal/strictyaml"
)

// A License is one that a model states: by its identifier of SPDX, or another name.
type License struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	URL  string `json:"url,omitempty"`
}

// spdx lists identifiers of SPDX that models on the Hugging Face hub state, there in lower case
// (https://huggingface.co/docs/hub/repositories-licenses).
var spdx = []string{
	"AFL-3.0", "AGPL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0", "CC-BY-2.0", "CC-BY-2.5",
	"CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "CC-BY-NC-SA-2.0",
	"CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0", "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0",
	"CDLA-Sharing-1.0", "ECL-2.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2", "GFDL-1.3", "GPL-2.0", "GPL-3.0", "ISC", "LGPL-2.1", "LGPL-3.0", "LPPL-1.3c",
	"MIT", "MPL-2.0", "MS-PL", "NCSA", "ODbL-1.0", "OFL-1.1", "OSL-3.0", "PDDL-1.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
}

// address matches addresses on the web that need no escapes.
var address = regexp.MustCompile(`^https?://[A-Za-z0-9][-A-Za-z0-9._~:/?@!$&'()*+,;=]*$`)

// isAddress reports whether text is an address on the web that a bill can state.
func isAddress(text string) bool {
	_, err := url.Parse(text)
	return err == nil && address.MatchString(text)
}

// NewLicense returns the licence with an identifier, or with another name. link is left out
// unless it is an address on the web.
func NewLicense(name, link string) License {
	if !isAddress(link) {
		link = "" // such as a file of the repository
	}
	for _, id := range spdx {
		if strings.EqualFold(id, name) {
			return License{ID: id, URL: link}
		}
	}
	return License{Name: name, URL: link}
}

// LicensesOfModel returns the licence that GGUF's general keys state, in facts by their names, or
// those that the README of the checkpoint at path states. A path of "" is none.
func LicensesOfModel(facts map[string]string, path string) []License {
	name := facts["general.license"]
	if name == "" || name == "other" {
		name = cmp.Or(facts["general.license.name"], name)
	}
	switch {
	case name != "":
		return []License{NewLicense(name, facts["general.license.link"])}
	case path == "":
		return nil
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		path = filepath.Dir(path)
	}
	return LicensesOf(filepath.Join(path, "README.md"))
}

// LicensesOf returns the licences that the README.md at path states, see licensesIn. It returns
// none if there is no such file.
func LicensesOf(path string) []License {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, strictyaml.Limit))
	if err != nil {
		return nil
	}
	return licensesIn(text)
}

// licensesIn returns the licences that the front matter of a model's README.md states, as the
// Hugging Face hub reads it; none if it states none or there is no front matter.
func licensesIn(readme []byte) (all []License) {
	text, ok := bytes.CutPrefix(bytes.ReplaceAll(readme, []byte("\r\n"), []byte("\n")), []byte("---\n"))
	matter, _, ended := bytes.Cut(text, []byte("\n---"))
	var fields map[string]any
	if !ok || !ended || strictyaml.Decode(matter, &fields) != nil {
		return nil
	}
	link, _ := fields["license_link"].(string)
	name, _ := fields["license_name"].(string)
	stated, _ := fields["license"].([]any)
	if stated == nil {
		stated = []any{fields["license"]}
	}
	for _, one := range stated {
		text, _ := one.(string)
		if text == "other" && name != "" {
			text = name
		}
		if text != "" {
			all = append(all, NewLicense(text, link))
		}
	}
	return all
}
