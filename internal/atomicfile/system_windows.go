package atomicfile

import "golang.org/x/sys/windows"

func free(dir string) (int64, bool) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, false
	}
	var available uint64
	if err := windows.GetDiskFreeSpaceEx(path, &available, nil, nil); err != nil {
		return 0, false
	}
	return int64(min(available, 1<<63-1)), true
}

// syncDir does nothing: Windows cannot sync a folder, and journals renames itself.
func syncDir(string) error { return nil }
