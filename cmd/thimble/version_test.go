package main

import (
	"runtime/debug"
	"strings"
	"testing"

	"thimble"
)

func TestBuildWithoutCommit(t *testing.T) {
	if text := buildOf(nil).String(); !strings.Contains(text, "\n  commit    unknown\n") {
		t.Errorf("the commit is missing, and the text does not say so:\n%s", text)
	}
}

func TestBuild(t *testing.T) {
	git := &debug.BuildInfo{
		Main:     debug.Module{Path: "thimble", Version: "v0.0.0-20261127120000-0123456789ab+dirty"},
		Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-27T12:00:00Z"}, {Key: "vcs.modified", Value: "true"}},
	}
	for _, test := range []struct {
		name                  string
		info                  *debug.BuildInfo
		version, commit, date string // from -ldflags
		want                  string // the start of the line
	}{
		{"git", git, "", "", "", thimble.Version + " (0123456789ab modified, 2026-11-27, go"},
		{"go install", &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "", "", "", "v1.2.3 (go"},
		{"go run", &debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "", "", "", thimble.Version + " (go"},
		{"no information", nil, "", "", "", thimble.Version + " (go"},
		{"release", git, "9.8.7", "fedcba9876543210", "2027-01-02T03:04:05Z", "9.8.7 (fedcba987654, 2027-01-02, go"},
		{"only the version", git, "9.8.7", "", "", "9.8.7 (0123456789ab modified, 2026-11-27, go"},
	} {
		version, commit, date = test.version, test.commit, test.date
		got := buildOf(test.info).line()
		version, commit, date = "", "", ""
		if len(got) < len(test.want) || got[:len(test.want)] != test.want {
			t.Errorf("%s: %q, want it to start with %q", test.name, got, test.want)
		}
	}
}
