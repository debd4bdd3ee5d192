package consul

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
)

// Client speaks to one agent. It is safe for concurrent use; share one in a
// process, because watches are shared within a client only.
type Client struct {
	http      *http.Client
	base      base
	address   string // see Address
	auth      *api.HttpBasicAuth
	token     string
	tokenFile string
	multiplex bool // all requests share one connection (HTTP/2)

	datacenter, namespace, partition string

	wait    time.Duration
	maxBody int64
	log     *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup
	outage outage

	mu          sync.Mutex
	closed      bool
	watches     map[string]*watch
	turns       turns
	warnedCount bool   // that there are many watches
	warnedToken bool   // that there is none and one may be needed
	goodToken   string // last token read from tokenFile
	tokenErr    bool   // the last reading failed
	localDC     string // the agent's own datacenter, once known
}

// base is where the agent's API begins.
type base struct{ scheme, host, prefix string }

// New returns a client. It does not speak to the agent yet, so the only errors
// are those of the options and of the files they name.
func New(o Options) (*Client, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("consul options: %w", err)
	}
	config := api.DefaultConfig()
	config.Address = cmp.Or(o.Address, config.Address)
	config.TLSConfig = api.TLSConfig{
		Address:            cmp.Or(o.TLS.ServerName, config.TLSConfig.Address),
		CAFile:             cmp.Or(o.TLS.CAFile, config.TLSConfig.CAFile),
		CAPath:             cmp.Or(o.TLS.CAPath, config.TLSConfig.CAPath),
		CertFile:           cmp.Or(o.TLS.CertFile, config.TLSConfig.CertFile),
		KeyFile:            cmp.Or(o.TLS.KeyFile, config.TLSConfig.KeyFile),
		InsecureSkipVerify: config.TLSConfig.InsecureSkipVerify, // the user's CONSUL_HTTP_SSL_VERIFY
	}
	token, tokenFile := o.Token, o.TokenFile
	if token == "" {
		tokenFile = cmp.Or(tokenFile, config.TokenFile)
	}
	if tokenFile == "" {
		token = cmp.Or(token, config.Token)
	}
	// The library reads a token file once and for all, and refuses to work
	// without it; we read it for every request.
	config.Token, config.TokenFile = "", ""
	c := &Client{
		auth: config.HttpAuth, token: token, tokenFile: tokenFile,
		datacenter: o.Datacenter,
		namespace:  cmp.Or(o.Namespace, config.Namespace), partition: cmp.Or(o.Partition, config.Partition),
		wait: cmp.Or(o.Wait, 5*time.Minute), maxBody: cmp.Or(o.MaxBody, 64<<20),
		log: o.Logger, watches: map[string]*watch{},
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	if err := c.connect(config, o.Transport); err != nil {
		return nil, fmt.Errorf("consul client for %s: %w", config.Address, err)
	}
	if !c.multiplex {
		c.turns = newTurns()
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// connect makes the HTTP client.
func (c *Client) connect(config *api.Config, instead http.RoundTripper) error {
	var err error
	if c.base, err = parseAddress(config); err != nil {
		return err
	}
	c.address = config.Address[strings.LastIndexByte(config.Address, '@')+1:]
	c.http = &http.Client{
		Transport: instead,
		// Consul does not redirect; whoever does must not get the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if instead != nil {
		return nil
	}
	transport := config.Transport
	transport.MaxIdleConnsPerHost = maxConns // a watch returns to its connection after every answer
	transport.MaxIdleConns = maxConns
	if c.base.scheme != "https" { // or it dials for whoever waits a moment
		transport.MaxConnsPerHost = maxConns * 3 / 4
	}
	transport.ForceAttemptHTTP2 = true
	transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second}
	if socket, isUnix := strings.CutPrefix(config.Address, "unix://"); isUnix {
		transport.DialContext = dialUnix(socket)
		transport.Proxy = nil
	}
	if _, err := api.NewHttpClient(transport, config.TLSConfig); err != nil {
		return err
	}
	c.http.Transport = transport
	c.multiplex = c.base.scheme == "https"
	return nil
}

// Address says which agent is asked, options and environment taken together,
// without a password that may stand in it.
func (c *Client) Address() string { return c.address }

// Close ends all watches and returns when their goroutines have ended. It may
// be called more than once.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.loops.Wait()
	c.http.CloseIdleConnections()
}

// Go runs f in a goroutine of the client: its context ends with stop or with
// Close, and both return only when f has. It returns [ErrClosed] on a closed client.
func (c *Client) Go(f func(ctx context.Context)) (stop func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run(f)
}

// run is Go for a caller that holds the lock.
func (c *Client) run(f func(ctx context.Context)) (stop func(), err error) {
	if c.closed {
		return nil, ErrClosed
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.loops.Go(func() {
		defer close(done)
		f(ctx)
	})
	return func() { cancel(); <-done }, nil
}

// warnNoToken says once that a token may be what is missing: to those without one
// Consul does not tell that it hides something.
func (c *Client) warnNoToken(path string) {
	c.mu.Lock()
	warned := c.warnedToken
	c.warnedToken = true
	c.mu.Unlock()
	if !warned {
		c.log.Warn("Consul shows nothing, and its rule is to deny: if there is something, this client needs a token", "path", path)
	}
}

// currentToken returns the token to send now. When the file cannot be read the
// last one stays.
func (c *Client) currentToken() string {
	if c.tokenFile == "" {
		return c.token
	}
	data, err := os.ReadFile(c.tokenFile)
	token := strings.TrimSpace(string(data))
	if err == nil && token == "" {
		err = errors.New("it is empty")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if failed := err != nil; failed != c.tokenErr {
		c.tokenErr = failed
		if failed {
			c.log.Warn("the Consul token file cannot be read; the last token stays", "file", c.tokenFile, "error", err)
		} else {
			c.log.Info("the Consul token file can be read again", "file", c.tokenFile)
		}
	}
	if err == nil {
		c.goodToken = token
	}
	return c.goodToken
}
