package atomicfile

import (
	"errors"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// exchange swaps two folders at once. Some file systems return EINVAL because they cannot, and
// sandboxes that do not know the call EPERM.
func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if slices.Contains([]error{unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.EPERM}, err) {
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("renameat2", err)
}
