package main

// #include <stdlib.h>
// #include <string.h>
//
// static _Thread_local char *text;
//
// // A file without //export may define functions.
// void thimble_set_error(const char *message) {
//	free(text);
//	text = *message ? strdup(message) : NULL;
// }
//
// char *thimble_error_text(void) { return text ? text : ""; }
import "C"

import (
	"fmt"
	"unsafe"

	"thimble/mobile"
)

// setError sets the error of this thread, on which a function that C calls stays.
func setError(err error) {
	message := ""
	if err != nil {
		message = err.Error()
	}
	s := C.CString(message)
	C.thimble_set_error(s)
	C.free(unsafe.Pointer(s))
}

func errorText() *C.char { return C.thimble_error_text() }

// call calls f, sets the error of this thread, and reports whether there is none. A panic
// must not end the app.
func call(f func() error) (ok bool) {
	err := func() (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("internal error: %v", p)
			}
		}()
		return f()
	}()
	setError(err)
	return err == nil
}

// onModel calls f with the model of a handle.
func onModel(handle uintptr, f func(*mobile.Model) error) bool {
	return call(func() error {
		m, ok := lookup(handle).(*mobile.Model)
		if !ok {
			return fmt.Errorf("%d is not the handle of a model", handle)
		}
		return f(m)
	})
}

// onChat calls f with the chat of a handle.
func onChat(handle uintptr, f func(*chat) error) bool {
	return call(func() error {
		c, ok := lookup(handle).(*chat)
		if !ok {
			return fmt.Errorf("%d is not the handle of a chat", handle)
		}
		return f(c)
	})
}
