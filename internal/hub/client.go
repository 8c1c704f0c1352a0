package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"thimble/internal/defect"
)

const (
	hubAddress   = "https://huggingface.co"
	maxListing   = 64 << 20 // bytes of the answer that lists a repository
	maxRedirects = 10
	maxBytes     = 1 << 42          // of one file
	stallAfter   = 60 * time.Second // without a byte
	attempts     = 5                // in a row without a byte
)

// A client asks one hub.
type client struct {
	endpoint *url.URL
	token    string
	http     *http.Client
	pause    time.Duration // before a second attempt; it doubles with each
	stall    time.Duration
}

// newClient reads HF_ENDPOINT and the token.
func newClient() (*client, error) {
	address := strings.TrimRight(cmp.Or(os.Getenv("HF_ENDPOINT"), hubAddress), "/")
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("HF_ENDPOINT %s: not the address of a server, such as %s", defect.Printable(address), hubAddress)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = stallAfter
	return &client{endpoint: u, token: token(), pause: time.Second, stall: stallAfter, http: &http.Client{Transport: transport}}, nil
}

// token returns the user's token, from HF_TOKEN or from the file that hf auth login writes.
func token() string {
	if t := strings.TrimSpace(cmp.Or(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN"))); t != "" {
		return t
	}
	if isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		return ""
	}
	file := filepath.Join(home(), "token")
	if named := os.Getenv("HF_TOKEN_PATH"); named != "" {
		file = expanded(named)
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() || info.Size() > 4096 {
		return ""
	}
	b, _ := os.ReadFile(file)
	return strings.TrimSpace(string(b))
}

// isTrue reads an environment variable as huggingface_hub does.
func isTrue(variable string) bool {
	switch strings.ToUpper(os.Getenv(variable)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// do sends a request. Redirects lead to another server without the token; those of HEAD are
// not followed there, because the hub itself describes the file.
func (c *client) do(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "thimble")
	req.Header.Set("Accept-Encoding", "identity") // sizes and ranges are those of the file
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for key, values := range header {
		req.Header[key] = values
	}
	client := *c.http
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		same := next.URL.Host == c.endpoint.Host && next.URL.Scheme == c.endpoint.Scheme
		switch {
		case method == http.MethodHead && !same:
			return http.ErrUseLastResponse
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		case next.URL.Scheme != "https" && c.endpoint.Scheme == "https":
			return errors.New("a redirect to an address without encryption")
		case !same:
			next.Header.Del("Authorization")
		}
		return nil
	}
	return client.Do(req)
}

// address returns the address of a path on the hub, each part of which is escaped.
func (c *client) address(parts ...string) string {
	var b strings.Builder
	b.WriteString(strings.TrimRight(c.endpoint.String(), "/"))
	for _, part := range parts {
		for piece := range strings.SplitSeq(part, "/") {
			b.WriteString("/" + url.PathEscape(piece))
		}
	}
	return b.String()
}

// list returns the commit of a revision, and the paths of its files.
func (c *client) list(ctx context.Context, n name) (commit string, files []string, err error) {
	address := c.address("api/models", n.repo, "revision") + "/" + url.PathEscape(n.branch())
	err = c.retry(ctx, n, func() error {
		r, err := c.do(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return c.refused(n, "", r)
		}
		b, err := io.ReadAll(io.LimitReader(r.Body, maxListing+1))
		if err != nil {
			return err
		}
		commit, files, err = listing(n, b)
		return err
	})
	return commit, files, err
}

func listing(n name, b []byte) (commit string, files []string, err error) {
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
		} `json:"siblings"`
	}
	if len(b) > maxListing {
		return "", nil, final{fmt.Errorf("%s: the list of its files is longer than %d bytes", n, maxListing)}
	}
	if err := json.Unmarshal(b, &answer); err != nil || !commitText.MatchString(answer.SHA) {
		return "", nil, final{fmt.Errorf("%s: the server's answer is not that of a Hugging Face hub; is HF_ENDPOINT right?", n)}
	}
	for _, s := range answer.Siblings {
		if !plain(s.Name) {
			return "", nil, final{fmt.Errorf("%s: the server lists a file called %q, which could lie outside of the model's folder", n, defect.Printable(s.Name))}
		}
		files = append(files, s.Name)
	}
	return answer.SHA, files, nil
}

// A remote file is what the hub says of a file.
type remote struct {
	path string
	hash string // SHA-256 if it has 64 digits, else Git's SHA-1 of the blob
	size int64
}

// describe asks for the hash and the size of a file.
func (c *client) describe(ctx context.Context, n name, commit, file string) (f remote, err error) {
	err = c.retry(ctx, n, func() error {
		r, err := c.do(ctx, http.MethodHead, c.fileAddress(n, commit, file), nil)
		if err != nil {
			return err
		}
		r.Body.Close()
		redirected := r.StatusCode >= 300 && r.StatusCode < 400
		if r.StatusCode != http.StatusOK && !redirected {
			return c.refused(n, file, r)
		}
		f = remote{file, strings.Trim(strings.TrimPrefix(cmp.Or(r.Header.Get("X-Linked-Etag"), r.Header.Get("Etag")), "W/"), `"`), -1}
		if size := r.Header.Get("X-Linked-Size"); size != "" {
			if f.size, err = strconv.ParseInt(size, 10, 64); err != nil {
				f.size = -1
			}
		} else if !redirected {
			f.size = r.ContentLength
		}
		switch {
		case newHash(f.hash, 0) == nil:
			return final{fmt.Errorf("%s: the server gives no hash of %s (ETag %q), so a download could not be checked", n, defect.Printable(file), defect.Printable(f.hash))}
		case f.size < 0 || f.size > maxBytes:
			return final{fmt.Errorf("%s: the server does not say how large %s is", n, defect.Printable(file))}
		}
		return nil
	})
	return f, err
}

func (c *client) fileAddress(n name, commit, file string) string {
	return c.address(n.repo, "resolve", commit, file)
}

// A final error is not worth another attempt.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// retry calls f until it succeeds, at most attempts times. It waits longer each time.
func (c *client) retry(ctx context.Context, n name, f func() error) error {
	pause := c.pause
	for i := 1; ; i++ {
		err := f()
		var stop final
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &stop):
			return stop.error
		case i == attempts:
			return fmt.Errorf("%s: %w; the next run continues where this one stopped, and with HF_HUB_OFFLINE=1 a copy in the cache is used", n, brief(err))
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause *= 2
	}
}

// brief takes the address, which may hold a signature, out of an error.
func brief(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return fmt.Errorf("the name of the server, %s, was not found", defect.Printable(lookup.Name))
	}
	return err
}

// refused returns the error for an answer other than the file.
func (c *client) refused(n name, file string, r *http.Response) error {
	what := n
	if file != "" {
		what.path = file
	}
	page := c.address(n.repo)
	say := func(format string, args ...any) error {
		return final{fmt.Errorf("%s: %s", what, fmt.Sprintf(format, args...))}
	}
	code, message := r.Header.Get("X-Error-Code"), r.Header.Get("X-Error-Message")
	switch status := r.StatusCode; {
	case code == "GatedRepo" && c.token == "":
		return say("the model is gated: accept its terms at %s, then set HF_TOKEN to a token of that account", page)
	case code == "GatedRepo":
		return say("the model is gated, and the account of your token (HF_TOKEN, or hf auth login) has no access; ask for it at %s", page)
	case code == "RevisionNotFound":
		return say("the repository has no revision %s", defect.Printable(n.branch()))
	case message == "Access to this resource is disabled.":
		return say("the hub has disabled access to this repository")
	case (status == 401 || status == 403) && c.token != "":
		return say("the server refuses your token (HF_TOKEN, or hf auth login): it is wrong, or may not read this model (status %d)", status)
	case status == 401 || status == 403:
		return say("there is no such model, or it is private or gated: for the latter, set HF_TOKEN to a token of an account that may read it (status %d)", status)
	case status == 404 && file == "":
		return say("%s has no such model", c.endpoint.Host)
	case status == 404:
		return say("the repository has no such file")
	case status == 429 || status >= 500:
		return fmt.Errorf("the server answers %s", defect.Printable(r.Status))
	default:
		return say("the server answers %s", defect.Printable(r.Status))
	}
}
