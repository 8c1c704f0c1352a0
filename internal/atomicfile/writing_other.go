//go:build !linux

package atomicfile

import "os"

// startWriting does nothing: only Linux has a call that starts writing and does not wait.
func startWriting(*os.File) {}
