package atomicfile

import (
	"os"

	"golang.org/x/sys/unix"
)

// exchange swaps two folders at once, which APFS can. ENOTSUP is an errors.ErrUnsupported.
func exchange(a, b string) error {
	return os.NewSyscallError("renamex_np", unix.RenamexNp(a, b, unix.RENAME_SWAP))
}
