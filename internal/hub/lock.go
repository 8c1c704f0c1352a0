package hub

import (
	"context"
	"os"
	"time"
)

// lock waits until no other program holds the lock of the file at path, and takes it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for tryLock(f) != nil {
		select {
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
	return func() { f.Close() }, nil
}
