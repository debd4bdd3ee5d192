package mesh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Serve is the life of a server in the mesh: it listens, is ready, is registered,
// serves until ctx ends, and leaves without a failed call:
//
//	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
//	defer stop()
//	err := m.Serve(ctx, mesh.Serving{Addr: ":8080", HTTP: handler})
//
// A registry that is down or refuses does not keep it from serving; it is tried on.
// What will never be registered, a port that is taken and a server that fails end
// it with an error, and so do calls that were still under way when
// [Serving].Finish was over. The order of leaving is in docs/serving.md; it takes
// Notice and Finish at most, and some seconds if the registry is away.
//
// The mesh stays open, for the calls that its own calls depend on: close it
// afterwards.
func (m *Mesh) Serve(ctx context.Context, s Serving) error {
	if err := errors.Join(s.Validate(), m.oneNameServed(s)); err != nil {
		return err
	}
	p := &presence{m: m, o: s.withDefaults(), gone: make(chan struct{}), failed: make(chan error, 1)}
	if err := p.open(ctx); err != nil {
		return err
	}
	m.health.Release(leaving)
	if !s.Registration.NotReady {
		m.health.Ready()
	}
	if s.Listening != nil {
		s.Listening(p.listening)
	}
	announcing, stop := context.WithCancel(ctx)
	var announced sync.WaitGroup
	if m.registrar != nil && !s.Unregistered {
		announced.Go(func() { p.announce(announcing) })
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-p.failed:
	}
	stop()
	announced.Wait()
	return errors.Join(err, p.leave(context.WithoutCancel(ctx)))
}

// leave takes the program out of the mesh, in this order: nobody new is sent here,
// those who come nevertheless are served and told, and who is here is served to
// the end.
func (p *presence) leave(ctx context.Context) error {
	begin := time.Now()
	p.m.health.Hold(leaving, "is leaving")
	noticing, cancel := context.WithTimeout(ctx, p.o.Notice)
	defer cancel()
	registered := p.registered.Load()
	if registered != nil {
		// If the registry is away, callers who come by other ways get their share.
		telling, cancel := context.WithTimeout(noticing, p.o.Notice/2)
		if err := registered.Drain(telling); err != nil {
			p.m.log.Warn("the registry may still show this program, which leaves", "error", err)
		}
		cancel()
	}
	told := time.Now()
	p.closing.Store(true)
	quiet := p.arrivals.quiet(noticing, p.o.Quiet)
	noticed := time.Now()

	finishing, cancel := context.WithTimeout(ctx, p.o.Finish)
	defer cancel()
	close(p.gone)
	var parting sync.WaitGroup
	if registered != nil {
		parting.Go(func() {
			if err := registered.Deregister(finishing); err != nil {
				p.m.log.Warn("not deregistered, which the registry will do in its time", "error", err)
			}
		})
	}
	err := p.finish(finishing)
	parting.Wait()
	if p.probes != nil { // last: who asks hears that it is leaving
		err = errors.Join(err, shut(finishing, p.probes))
	}
	p.running.Wait()
	p.m.log.Info("left", "told", told.Sub(begin), "noticed", noticed.Sub(told), "all_noticed", quiet,
		"finished", time.Since(noticed), "cut", err != nil)
	if err != nil {
		return fmt.Errorf("innermesh: leave: calls were still under way after %v and have been cut off: %w", p.o.Finish, err)
	}
	return nil
}

// finish closes the listeners and waits for what is under way, or cuts it off when
// ctx ends.
func (p *presence) finish(ctx context.Context) error {
	var all sync.WaitGroup
	faults := make([]error, 3)
	if p.rpc != nil && p.native {
		all.Go(func() { faults[0] = stop(ctx, p.rpc) })
	}
	if p.web != nil {
		all.Go(func() { faults[1] = shut(ctx, p.web) })
		all.Go(func() { faults[2] = shut(ctx, &p.prior) })
	}
	all.Wait()
	if p.rpc != nil && !p.native {
		p.rpc.Stop() // its calls have ended with their connections
	}
	return errors.Join(faults...)
}

// shut ends what can be shut down and, if that takes too long, closed.
func shut(ctx context.Context, s interface {
	Shutdown(ctx context.Context) error
	Close() error
},
) error {
	err := s.Shutdown(ctx)
	if err != nil {
		_ = s.Close() // what is cut off is told by err
	}
	return err
}

// stop lets the calls of a gRPC server end.
func stop(ctx context.Context, s *grpc.Server) error {
	cut := context.AfterFunc(ctx, s.Stop)
	s.GracefulStop()
	if !cut() {
		return context.Cause(ctx)
	}
	return nil
}
