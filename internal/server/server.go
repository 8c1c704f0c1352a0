// Package server serves a model over HTTP with the API of OpenAI: chat completions,
// completions and models, and a page to chat with it. The requests share the model's
// weights and take turns, token by token; each has a KV cache of its own.
package server

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"thimble/internal/chat"
	"thimble/internal/session"
)

// Options are the limits of a Server. All must be positive.
type Options struct {
	Name      string          // of the model, in requests and answers
	Defaults  session.Request // for what a request does not set
	Parallel  int             // requests that generate at once, each with a KV cache
	Queue     int             // requests that wait for that
	MaxBody   int64           // bytes of a request
	MaxTokens int             // of an answer
	Timeout   time.Duration   // of a request, from its first byte to the last of the answer
}

// A Server answers requests. It is an http.Handler.
type Server struct {
	Options
	engine  *session.Engine
	tools   *chat.ToolStyle // nil if the template does not say how tools are called
	mux     *http.ServeMux
	waiting chan struct{} // as many as may be in progress or wait

	mu    sync.Mutex
	slots []*session.Session // idle
	idle  chan struct{}      // as many as slots
}

// New returns a Server for e.
func New(e *session.Engine, o Options) (*Server, error) {
	s := &Server{Options: o, engine: e, mux: http.NewServeMux(), idle: make(chan struct{}, o.Parallel), waiting: make(chan struct{}, o.Parallel+o.Queue)}
	s.tools = chat.ToolStyleOf(e.ToolTemplate())
	for range o.Parallel {
		slot, err := e.NewSession()
		if err != nil {
			return nil, err
		}
		s.slots = append(s.slots, slot)
		s.idle <- struct{}{}
	}
	for path, h := range map[string]struct {
		method string
		do     func(http.ResponseWriter, *http.Request) error
	}{
		"/v1/chat/completions": {http.MethodPost, s.chatCompletions},
		"/v1/completions":      {http.MethodPost, s.completions},
		"/v1/models":           {http.MethodGet, s.models},
		"/v1/models/{id}":      {http.MethodGet, s.oneModel},
		"/health":              {http.MethodGet, s.health},
		"/{$}":                 {http.MethodGet, s.page},
		"/":                    {"", func(_ http.ResponseWriter, r *http.Request) error { return notFound(r) }},
	} {
		s.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if h.method != "" && r.Method != h.method && !(h.method == http.MethodGet && r.Method == http.MethodHead) {
				w.Header().Set("Allow", h.method)
				writeError(w, &apiError{http.StatusMethodNotAllowed, "invalid_request_error", "method_not_allowed", "", fmt.Sprintf("%s takes %s", r.URL.Path, h.method)})
				return
			}
			if err := h.do(w, r); err != nil {
				writeError(w, err)
			}
		})
	}
	return s, nil
}

// ServeHTTP answers a request. It refuses those that pages of other sites send.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if err := checkOrigin(r); err != nil {
		writeError(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
	defer cancel()
	// A client that sends or reads too slowly must not hold a slot for ever. The recorder
	// of a test has no deadlines.
	control, end := http.NewResponseController(w), time.Now().Add(s.Timeout+time.Second)
	_ = control.SetReadDeadline(end)
	_ = control.SetWriteDeadline(end)
	s.mux.ServeHTTP(w, r.WithContext(ctx))
}

// checkOrigin refuses a request by a script of a page that this server did not send, and
// one whose Host is a name, which an attacker's domain could be (DNS rebinding).
func checkOrigin(r *http.Request) error {
	refuse := func(why string) error {
		return &apiError{http.StatusForbidden, "invalid_request_error", "forbidden", "", why}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	local, _ := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if local != nil && local.IP.IsLoopback() && net.ParseIP(host) == nil && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
		return refuse("the Host header names neither localhost nor an address")
	}
	if origin := r.Header.Get("Origin"); origin != "" && r.Method != http.MethodGet {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return refuse("pages of other sites may not use this server")
		}
	}
	return nil
}

// acquire waits for a slot, and takes the one that has the longest prefix of ids cached.
func (s *Server) acquire(ctx context.Context, ids []int) (*session.Session, error) {
	select {
	case <-s.idle:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	best, most := 0, -1
	for i, slot := range s.slots {
		if n := slot.Shared(ids); n > most {
			best, most = i, n
		}
	}
	slot := s.slots[best]
	s.slots = append(s.slots[:best], s.slots[best+1:]...)
	return slot, nil
}

func (s *Server) release(slot *session.Session) {
	s.mu.Lock()
	s.slots = append(s.slots, slot)
	s.mu.Unlock()
	s.idle <- struct{}{}
}

// enter admits a request, or returns an error if too many are waiting. leave ends it.
func (s *Server) enter() error {
	select {
	case s.waiting <- struct{}{}:
		return nil
	default:
		return &apiError{http.StatusTooManyRequests, "rate_limit_error", "too_many_requests", "",
			fmt.Sprintf("%d requests are in progress or wait; try again later", cap(s.waiting))}
	}
}

func (s *Server) leave() { <-s.waiting }

func (s *Server) models(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, map[string]any{"object": "list", "data": []any{s.describe()}})
}

func (s *Server) oneModel(w http.ResponseWriter, r *http.Request) error {
	if id := r.PathValue("id"); id != s.Name {
		return s.unknownModel(id)
	}
	return writeJSON(w, s.describe())
}

func (s *Server) describe() map[string]any {
	return map[string]any{"id": s.Name, "object": "model", "created": 0, "owned_by": "thimble", "max_model_len": s.engine.Context}
}

func (s *Server) unknownModel(id string) error {
	return &apiError{http.StatusNotFound, "invalid_request_error", "model_not_found", "model", fmt.Sprintf("there is no model %q; this server has %q", clip(id), s.Name)}
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) error {
	s.mu.Lock()
	idle, bytes := len(s.slots), int64(0)
	for _, slot := range s.slots {
		bytes += slot.CacheBytes()
	}
	s.mu.Unlock()
	return writeJSON(w, map[string]any{"status": "ok", "idle": idle, "parallel": s.Parallel, "idle_cache_bytes": bytes})
}

//go:embed page.html
var page []byte

// page sends the chat page. Its policy allows nothing from elsewhere; the script and the
// style are in the page.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; script-src '"+scriptHash+"'; style-src '"+styleHash+"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	_, err := w.Write(page)
	return err
}

func notFound(r *http.Request) error {
	return &apiError{http.StatusNotFound, "invalid_request_error", "not_found", "", fmt.Sprintf("there is no %s; see /v1/chat/completions, /v1/completions, /v1/models, /health", clip(r.URL.Path))}
}

// An apiError is an error in OpenAI's form.
type apiError struct {
	status     int
	kind, code string
	param      string
	message    string
}

func (e *apiError) Error() string { return e.message }

func (e *apiError) body() map[string]any {
	inner := map[string]any{"message": e.message, "type": e.kind, "code": e.code, "param": nil}
	if e.param != "" {
		inner["param"] = e.param
	}
	return map[string]any{"error": inner}
}

// invalid returns the error for a wrong parameter.
func invalid(param, format string, args ...any) error {
	return &apiError{http.StatusBadRequest, "invalid_request_error", "invalid_value", param, param + ": " + fmt.Sprintf(format, args...)}
}

// asAPI returns err as an apiError.
func asAPI(err error) *apiError {
	var e *apiError
	var full *session.ContextError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &full):
		return &apiError{http.StatusBadRequest, "invalid_request_error", "context_length_exceeded", "messages", full.Error()}
	case errors.As(err, &large):
		return &apiError{http.StatusRequestEntityTooLarge, "invalid_request_error", "request_too_large", "", fmt.Sprintf("the request has more than %d bytes", large.Limit)}
	case errors.Is(err, session.ErrTemplate):
		return &apiError{http.StatusBadRequest, "invalid_request_error", "chat_template", "messages", err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &apiError{http.StatusRequestTimeout, "timeout_error", "timeout", "", "the request took too long"}
	case errors.Is(err, context.Canceled):
		return &apiError{499, "invalid_request_error", "canceled", "", "the client closed the request"}
	}
	return &apiError{http.StatusInternalServerError, "server_error", "internal_error", "", err.Error()}
}

func writeError(w http.ResponseWriter, err error) {
	e := asAPI(err)
	if e.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(e.body()) // the client may be gone
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client may be gone
	return nil
}

// clip returns a text of a client for a message.
func clip(text string) string {
	if len(text) > 100 {
		text = strings.ToValidUTF8(text[:100], "") + "..."
	}
	return text
}
