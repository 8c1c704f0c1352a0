package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"thimble/internal/defect"
	"thimble/internal/label"
	"thimble/internal/server"
	"thimble/internal/units"
)

const serveHelp = `Serves the model over HTTP until it is interrupted: POST /v1/chat/completions and
/v1/completions, GET /v1/models and /health in the form of OpenAI's API, and a
page to chat with the model at /. Answers stream if a request asks for it.

Requests share the model's weights and take turns, token by token; a seed gives
a request the same answer whatever else is being served, on one day or with
--date: some chat templates tell the model the date. --parallel of them
generate at once, each with a KV cache that keeps what it has computed for the
next request; --queue more wait, and others get status 429. A client that
disconnects ends its request.

What a request does not set is as the model's authors recommend, or as the
options say. Without max_tokens, or with -1, an answer may go on to the end of
the context, as with OpenAI and llama.cpp; -n limits every answer. A misspelled field
(max_token) is an error; fields of OpenAI's that do not apply here are ignored.

Tools go to the model's chat template, and calls are read in the forms of Qwen
and Hermes (<tool_call>), Mistral ([TOOL_CALLS]) and Llama 3 (JSON); tool_choice
"required" or a function makes the answer begin as a call. n above 1, penalties
of frequency and presence, logit_bias and JSON schemas are refused.

Only programs on this machine can connect unless --host or --addr says
otherwise. There are no users and no encryption: put a proxy in front of it
before others can reach it.

Examples:
   thimble serve smol.thimble
   thimble serve smol.thimble --addr 127.0.0.1:9000 --parallel 2 --context 2048
   thimble serve smol.thimble --host 0.0.0.0 --kv int8
   curl 127.0.0.1:8080/v1/completions -d '{"prompt": "Once", "max_tokens": 9}'`

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:        "serve",
		Usage:       "serve a model over HTTP, in the form of OpenAI's API",
		UsageText:   "thimble serve MODEL [--addr HOST:PORT] [--parallel N]",
		Description: serveHelp,
		Flags: append(append([]cli.Flag{
			&cli.StringFlag{Name: "addr", Value: "127.0.0.1:8080", Usage: "listen at `HOST:PORT`; port 0 takes a free one"},
			&cli.StringFlag{Name: "host", Usage: "listen at `HOST` instead of that of --addr; 0.0.0.0 is every interface"},
			&cli.IntFlag{Name: "port", Usage: "listen at port `N` instead of that of --addr"},
			&cli.StringFlag{Name: "alias", Usage: "call the model `NAME` (default: the name of its file or folder)"},
			&cli.IntFlag{Name: "parallel", Value: 4, Usage: "generate `N` answers at once"},
			&cli.IntFlag{Name: "queue", Value: 32, Usage: "let `N` more requests wait"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "end a request after `TIME`"},
			&cli.Int64Flag{Name: "max-body", Value: 1 << 20, Usage: "refuse requests of more than `BYTES`"},
		}, samplingFlags...), contextLimitFlag, dateFlag, arithmeticFlag, activationsFlag, kvFlag, setFlag, dropFlag, quietFlag),
		Action: serveAction,
	}
}

// Limits of what serve accepts, far above what a machine can do.
const (
	mostParallel = 1 << 10
	mostQueue    = 1 << 16
	mostBody     = 1 << 30
)

func serveAction(c *cli.Context) error {
	addr, err := addressOf(c)
	if err != nil {
		return err
	}
	o := server.Options{
		Name: c.String("alias"), Parallel: c.Int("parallel"), Queue: c.Int("queue"), Timeout: c.Duration("timeout"), MaxBody: c.Int64("max-body"),
	}
	switch {
	case o.Parallel < 1 || o.Parallel > mostParallel:
		return fmt.Errorf("--parallel %d is out of range, want 1 to %d", o.Parallel, mostParallel)
	case o.Queue < 0 || o.Queue > mostQueue:
		return fmt.Errorf("--queue %d is out of range, want 0 to %d", o.Queue, mostQueue)
	case o.MaxBody < 1 || o.MaxBody > mostBody:
		return fmt.Errorf("--max-body %d is out of range, want 1 to %d", o.MaxBody, mostBody)
	case o.Timeout <= 0 || o.Timeout > 24*time.Hour:
		return fmt.Errorf("--timeout %v is out of range, want above 0 to 24h", o.Timeout)
	}
	m, e, err := openEngine(c)
	if err != nil {
		return err
	}
	defer m.Close()
	defer e.Close()
	if o.Defaults, err = samplingOf(c, m); err != nil {
		return err
	}
	o.MaxTokens, o.Defaults.Tokens = e.Context, 0
	if c.IsSet("tokens") {
		o.MaxTokens = c.Int("tokens")
	}
	if o.Name == "" {
		o.Name = servedName(c.Args().First())
	}
	s, err := server.New(e, o)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return cannotListen(c, addr, err)
	}
	fmt.Fprintf(c.App.Writer, "%s: http://%s/  (the API is at /v1)\n", defect.Printable(o.Name), listener.Addr())
	if !c.Bool(quietFlag.Name) {
		fmt.Fprintf(c.App.ErrWriter, "up to %d answers at once in a context of %d; the weights take %s; Ctrl-C ends the server\n", o.Parallel, e.Context, units.Size(weightBytes(m)))
		if a, ok := listener.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			fmt.Fprintln(c.App.ErrWriter, "warning: other machines can reach this address, and whoever does can use the model")
		}
	}
	return serve(c.Context, listener, s)
}

// servedName returns the name of a model for requests, from its path.
func servedName(path string) string {
	if abs, err := filepath.Abs(path); err == nil { // . has a name, too
		path = abs
	}
	return label.OfModel(path)
}

func weightBytes(m interface{ Size() (int64, int64) }) int64 {
	_, bytes := m.Size()
	return bytes
}

// cannotListen returns the error for an address that could not be used, with the option that
// the user gave, or would give.
func cannotListen(c *cli.Context, addr string, err error) error {
	var failed *net.OpError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if call := new(os.SyscallError); errors.As(err, &call) {
		err = call.Err
	}
	option, remedy := "--port", ""
	if c.IsSet("addr") && !c.IsSet("port") {
		option = "--addr"
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = ", or port 0 for any free one"
	case errors.Is(err, os.ErrPermission):
		remedy = ", with a port of 1024 or more"
	case c.IsSet("host"):
		option = "--host"
	}
	return fmt.Errorf("serve: cannot listen at %s: %w; choose another %s%s", defect.Printable(addr), err, option, remedy)
}

// addressOf returns the address to listen at.
func addressOf(c *cli.Context) (string, error) {
	host, port, err := net.SplitHostPort(c.String("addr"))
	if err != nil {
		return "", fmt.Errorf("--addr %s: want HOST:PORT, such as 127.0.0.1:8080", defect.Printable(c.String("addr")))
	}
	if c.IsSet("host") {
		host = strings.Trim(c.String("host"), "[]")
	}
	if c.IsSet("port") {
		port = strconv.Itoa(c.Int("port"))
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", fmt.Errorf("port %s is out of range, want 0 to 65535", defect.Printable(port))
	}
	return net.JoinHostPort(host, port), nil
}

// serve answers requests until ctx ends, which ends those in progress.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: h, BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: log.New(io.Discard, "", 0),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
	}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if s.Shutdown(soon) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if stop() { // Serve failed by itself
		close(done)
	}
	<-done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
