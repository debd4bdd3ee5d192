package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/innermesh/innermesh/internal/grpcadapter"
	"github.com/innermesh/innermesh/internal/httpadapter"
)

// presence is the servers of one [Mesh.Serve].
type presence struct {
	m         *Mesh
	o         Serving
	listening Listening
	arrivals  arrivals

	web, probes *http.Server      // nil: there is none
	rpc         *grpc.Server      // nil: there is none
	native      bool              // rpc has a listener of its own, or else is called by web
	prior       httpadapter.Prior // connections of web that it does not know any more
	handler     http.Handler      // of web, behind what is ours

	closing atomic.Bool   // answers ask to close the connection
	gone    chan struct{} // closed when nobody is to wait for news any more

	running    sync.WaitGroup
	failed     chan error // by a server that has ended by itself, or what will never be registered
	registered atomic.Pointer[Registered]
}

// open listens and builds the servers. On an error nothing is left open.
func (p *presence) open(ctx context.Context) (err error) {
	var listeners []net.Listener
	listen := func(field, addr string, secured bool) net.Listener {
		if err != nil {
			return nil
		}
		var l net.Listener
		if l, err = p.listen(ctx, field, addr, secured); err == nil {
			listeners = append(listeners, l)
		}
		return l
	}
	main := listen("Addr", p.o.Addr, true)
	var own, health net.Listener
	if p.o.GRPCAddr != "" {
		own = listen("GRPCAddr", p.o.GRPCAddr, true)
	}
	if p.o.HealthAddr != "" {
		health = listen("HealthAddr", p.o.HealthAddr, false)
	}
	if err != nil {
		for _, l := range listeners {
			_ = l.Close() // nobody has come
		}
		return err
	}
	p.native = p.o.HTTP == nil || own != nil
	if p.o.GRPC != nil {
		p.rpc = p.grpcServer()
	}
	if p.o.HTTP != nil {
		p.handler = p.m.Middleware(p.o.HTTP)
		p.web = p.httpServer(p.prior.Handler(http.HandlerFunc(p.serve)))
	}
	p.listening.Addr = main.Addr()
	switch {
	case p.web == nil:
		p.run(p.rpc.Serve, main)
	default:
		p.run(p.web.Serve, main)
	}
	if own != nil {
		p.listening.GRPC = own.Addr()
		p.run(p.rpc.Serve, own)
	}
	if health != nil {
		p.listening.Health = health.Addr()
		mux := http.NewServeMux()
		mux.Handle("/livez", p.m.health.Livez())
		mux.Handle("/readyz", p.m.health.Readyz())
		p.probes = p.httpServer(mux)
		p.run(p.probes.Serve, health)
	}
	return nil
}

// listen opens a listener. That a port is taken is the commonest of all faults.
func (p *presence) listen(ctx context.Context, field, addr string, secured bool) (net.Listener, error) {
	open := p.m.Listen
	if !secured {
		open = func(ctx context.Context, addr string) (net.Listener, error) {
			return new(net.ListenConfig).Listen(ctx, "tcp", addr)
		}
	}
	l, err := open(ctx, addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &OptionError{Field: "Serving." + field, Problem: fmt.Sprintf(
			"is %q: the port is taken by another program, end that one or choose another port (:0 is any)", addr), Err: err}
	case err != nil:
		return nil, &OptionError{Field: "Serving." + field, Problem: fmt.Sprintf("is %q: %v", addr, err), Err: err}
	}
	return l, nil
}

// run serves until the server is shut down.
func (p *presence) run(serve func(net.Listener) error, l net.Listener) {
	p.running.Go(func() {
		if err := serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			p.fail(fmt.Errorf("innermesh: serve on %s: %w", l.Addr(), err))
		}
	})
}

// fail ends Serve, if nothing else has done so before.
func (p *presence) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

func (p *presence) httpServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: protocols,
		ReadHeaderTimeout: 10 * time.Second,
		// Longer than clients keep theirs, 90 s by default: who closes an idle
		// connection first must not be the one who does not know what is on its way.
		IdleTimeout: 3 * time.Minute,
		ErrorLog:    slog.NewLogLogger(p.m.log.Handler(), slog.LevelDebug), // about single connections
	}
}

func (p *presence) grpcServer() *grpc.Server {
	arrived := func() {} // serve has seen them
	var options []grpc.ServerOption
	if p.native {
		arrived = p.arrivals.one
		options = append(options, grpc.Creds(p.m.GRPCServerCredentials()))
	}
	// What stands before everything else needs the server, which needs it.
	var health *grpcadapter.Health
	options = append(options,
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			return health.Unary(arrived)(ctx, req, info, next)
		}),
		grpc.ChainStreamInterceptor(func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			return health.Stream(arrived)(srv, s, info, next)
		}))
	options = append(options, p.m.GRPCServerOptions()...)
	server := grpc.NewServer(append(options, p.o.GRPCOptions...)...)
	p.o.GRPC(server)
	health = grpcadapter.NewHealth(server, p.m.health, p.gone)
	health.Register(server)
	return server
}

// serve tells what comes to the main port apart.
func (p *presence) serve(w http.ResponseWriter, r *http.Request) {
	if p.closing.Load() {
		w.Header().Set("Connection", "close") // over HTTP/2 this sends GOAWAY
	}
	if p.probes == nil {
		switch r.URL.Path {
		case "/livez":
			p.m.health.Livez().ServeHTTP(w, r)
			return
		case "/readyz":
			p.m.health.Readyz().ServeHTTP(w, r)
			return
		}
	}
	p.arrivals.one()
	if p.rpc != nil && !p.native && r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		p.rpc.ServeHTTP(w, r)
		return
	}
	p.handler.ServeHTTP(w, r)
}
