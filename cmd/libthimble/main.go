// Command libthimble is package mobile as a C library. thimble.h describes it, and
// docs/MOBILE.md how to build it:
//
//	CGO_ENABLED=1 go build -buildmode=c-shared -o libthimble.so ./cmd/libthimble
//
// Nothing else in this module needs cgo, and without it this package has no files.
package main

// #define THIMBLE_TYPES_ONLY
// #include "thimble.h"
import "C"

import (
	"errors"
	"runtime/debug"
	"sync"
	"unicode/utf8"
	"unsafe"

	"thimble/mobile"
)

func main() {}

func init() { debug.SetGCPercent(25) } // memory is scarcer than time: the heap is small

// handles maps the numbers that C has to a *mobile.Model or a *chat. A number is never
// used again.
var handles struct {
	sync.Mutex
	last uintptr
	all  map[uintptr]any
}

func register(v any) uintptr {
	handles.Lock()
	defer handles.Unlock()
	if handles.all == nil {
		handles.all = map[uintptr]any{}
	}
	handles.last++
	handles.all[handles.last] = v
	return handles.last
}

func lookup(handle uintptr) any {
	handles.Lock()
	defer handles.Unlock()
	return handles.all[handle]
}

func forget(handle uintptr) {
	handles.Lock()
	defer handles.Unlock()
	delete(handles.all, handle)
}

// A chat is a mobile.Chat with what did not fit the last buffer.
type chat struct {
	*mobile.Chat
	model *mobile.Model
	mu    sync.Mutex // of rest
	rest  string
}

//export thimble_open
func thimble_open(path *C.char, options *C.thimble_options) (handle C.uintptr_t) {
	call(func() error {
		if path == nil {
			return errors.New("the path is NULL")
		}
		var o mobile.Options
		if options != nil {
			o.Context, o.Float = int(options.context), options.compute_float != 0
			if options.kv != nil {
				o.KV = C.GoString(options.kv)
			}
			if options.date != nil {
				o.Date = C.GoString(options.date)
			}
		}
		m, err := mobile.Open(C.GoString(path), &o)
		if err == nil {
			handle = C.uintptr_t(register(m))
		}
		return err
	})
	return handle
}

//export thimble_close
func thimble_close(model C.uintptr_t) {
	onModel(uintptr(model), func(m *mobile.Model) error {
		handles.Lock()
		for handle, v := range handles.all {
			if c, ok := v.(*chat); ok && c.model == m {
				delete(handles.all, handle)
			}
		}
		delete(handles.all, uintptr(model))
		handles.Unlock()
		return m.Close()
	})
}

//export thimble_default_settings
func thimble_default_settings(model C.uintptr_t, settings *C.thimble_settings) C.int {
	return status(onModel(uintptr(model), func(m *mobile.Model) error {
		if settings == nil {
			return errors.New("the settings are NULL")
		}
		d := m.DefaultSettings()
		*settings = C.thimble_settings{
			temperature: C.double(d.Temperature), top_p: C.double(d.TopP), min_p: C.double(d.MinP),
			repetition_penalty: C.double(d.RepetitionPenalty), top_k: C.int32_t(d.TopK),
		}
		return nil
	}))
}

// status returns 0 for success and -1 for failure.
func status(ok bool) C.int {
	if ok {
		return 0
	}
	return -1
}

// number returns what f returns for the model of a handle, or -1.
func number(model C.uintptr_t, f func(*mobile.Model) int64) (n C.int64_t) {
	n = -1
	onModel(uintptr(model), func(m *mobile.Model) error {
		n = C.int64_t(f(m))
		return nil
	})
	return n
}

//export thimble_weight_bytes
func thimble_weight_bytes(model C.uintptr_t) C.int64_t {
	return number(model, (*mobile.Model).WeightBytes)
}

//export thimble_cache_bytes
func thimble_cache_bytes(model C.uintptr_t) C.int64_t {
	return number(model, (*mobile.Model).CacheBytes)
}

//export thimble_context
func thimble_context(model C.uintptr_t) C.int64_t {
	return number(model, func(m *mobile.Model) int64 { return int64(m.Context()) })
}

//export thimble_chat_begin
func thimble_chat_begin(model C.uintptr_t, settings *C.thimble_settings) (handle C.uintptr_t) {
	onModel(uintptr(model), func(m *mobile.Model) error {
		c, err := m.NewChat(settingsOf(settings))
		if err == nil {
			handle = C.uintptr_t(register(&chat{Chat: c, model: m}))
		}
		return err
	})
	return handle
}

// settingsOf copies settings, which may be NULL.
func settingsOf(c *C.thimble_settings) *mobile.Settings {
	s := new(mobile.Settings)
	if c == nil {
		return s
	}
	*s = mobile.Settings{
		Temperature: float64(c.temperature), TopK: int(c.top_k), TopP: float64(c.top_p), MinP: float64(c.min_p),
		RepetitionPenalty: float64(c.repetition_penalty), Seed: int64(c.seed), MaxTokens: int(c.max_tokens),
	}
	if c.system != nil {
		s.System = C.GoString(c.system)
	}
	if c.stop != nil {
		for _, text := range unsafe.Slice(c.stop, maxStops) {
			if text == nil {
				break
			}
			s.AddStop(C.GoString(text))
		}
	}
	return s
}

// maxStops is far above the number of stop texts that anybody gives: their list ends
// before, with NULL.
const maxStops = 1 << 16

//export thimble_chat_say
func thimble_chat_say(handle C.uintptr_t, message *C.char) C.int {
	return begin(handle, message, (*mobile.Chat).Say)
}

//export thimble_chat_continue
func thimble_chat_continue(handle C.uintptr_t, text *C.char) C.int {
	return begin(handle, text, (*mobile.Chat).Continue)
}

func begin(handle C.uintptr_t, text *C.char, f func(*mobile.Chat, string) error) C.int {
	return status(onChat(uintptr(handle), func(c *chat) error {
		if text == nil {
			return errors.New("the text is NULL")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.rest = ""
		return f(c.Chat, C.GoString(text))
	}))
}

//export thimble_chat_next
func thimble_chat_next(handle C.uintptr_t, buffer *C.char, size C.int) (n C.int) {
	n = -1
	onChat(uintptr(handle), func(c *chat) error {
		if buffer == nil || size < 8 {
			return errors.New("the buffer has fewer than 8 bytes")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.rest == "" {
			var err error
			if c.rest, err = c.Next(); err != nil {
				return err
			}
		}
		part := c.rest[:whole(c.rest, int(size)-1)]
		c.rest = c.rest[len(part):]
		to := unsafe.Slice((*byte)(unsafe.Pointer(buffer)), int(size))
		n = C.int(copy(to, part))
		to[n] = 0
		return nil
	})
	return n
}

// whole returns the length of the longest prefix of text of at most n bytes that ends
// after a character.
func whole(text string, n int) int {
	if len(text) <= n {
		return len(text)
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return n
}

//export thimble_chat_cancel
func thimble_chat_cancel(handle C.uintptr_t) {
	onChat(uintptr(handle), func(c *chat) error {
		c.Cancel()
		return nil
	})
}

//export thimble_chat_reason
func thimble_chat_reason(handle C.uintptr_t) (reason C.int) {
	reason = -1
	onChat(uintptr(handle), func(c *chat) error {
		reason = map[string]C.int{
			mobile.ReasonStop: C.THIMBLE_STOP, mobile.ReasonLength: C.THIMBLE_LENGTH,
			mobile.ReasonContext: C.THIMBLE_CONTEXT, mobile.ReasonCanceled: C.THIMBLE_CANCELED,
		}[c.Reason()]
		return nil
	})
	return reason
}

//export thimble_chat_reset
func thimble_chat_reset(handle C.uintptr_t) {
	onChat(uintptr(handle), func(c *chat) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.rest = ""
		c.Reset()
		return nil
	})
}

//export thimble_chat_close
func thimble_chat_close(handle C.uintptr_t) {
	onChat(uintptr(handle), func(c *chat) error {
		forget(uintptr(handle))
		c.Close()
		return nil
	})
}

//export thimble_last_error
func thimble_last_error() *C.char { return errorText() }
