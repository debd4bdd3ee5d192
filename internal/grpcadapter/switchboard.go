package grpcadapter

import (
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/internal/cluster"
)

const switchboardName = "innermesh_switchboard"

// gRPC finds balancers only in its global registry. The builder has no state.
func init() { balancer.Register(switchboardBuilder{}) } //nolint:gochecknoinits // there is no other way to give gRPC a balancer

type switchboardBuilder struct{}

// Name implements [balancer.Builder].
func (switchboardBuilder) Name() string { return switchboardName }

// Build implements [balancer.Builder].
func (switchboardBuilder) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return &switchboard{cc: cc, states: &balancer.ConnectivityStateEvaluator{}}
}

// switchboard keeps one connection for each member of a service, of one client
// connection, and plugs each attempt into that of its member. gRPC calls all
// methods but the picker's from one goroutine at a time; connections that are too
// old are replaced in others.
type switchboard struct {
	cc    balancer.ClientConn
	lines sync.Map // *cluster.Member to *line, read by picks

	mu     sync.Mutex
	states *balancer.ConnectivityStateEvaluator
}

// UpdateClientConnState opens lines to members that have come and hangs up on
// those that have gone; what is under way there may finish.
func (b *switchboard) UpdateClientConnState(s balancer.ClientConnState) error {
	u := upstreamOf(s.ResolverState.Attributes)
	if u == nil {
		return errors.New("innermesh: the switchboard needs the mesh's own resolver: dial with all of Mesh.DialOptions")
	}
	members := u.Members()
	there := make(map[*cluster.Member]bool, len(members))
	for _, m := range members {
		there[m] = true
		if l, ok := b.lines.Load(m); ok {
			b.age(l.(*line)) // the policy may be another
			continue
		}
		if l := b.open(m, nil); l != nil {
			b.lines.Store(m, l)
			l.conn.Connect() // now, so that the first pick need not wait for it
		}
	}
	for m := range b.lines.Range {
		if !there[m.(*cluster.Member)] {
			b.hangUp(m.(*cluster.Member))
		}
	}
	b.publish()
	return nil
}

// open makes a line, which takes the place of another once it is ready.
func (b *switchboard) open(m *cluster.Member, instead *line) *line {
	l := &line{board: b, member: m, instead: instead}
	l.state.Store(&lineState{is: connectivity.Idle})
	conn, err := b.cc.NewSubConn( //nolint:staticcheck // what is deprecated is more than one address
		[]resolver.Address{{Addr: m.Address, Attributes: attributes.New(lineKey{}, l)}},
		balancer.NewSubConnOptions{StateListener: func(s balancer.SubConnState) { b.changed(l, s) }})
	if err != nil {
		return nil // the client connection is closing
	}
	l.conn = conn
	b.record(connectivity.Shutdown, connectivity.Idle)
	return l
}

// changed notes what a connection is up to. One that went idle, because the
// other side closed it or its backoff is over, is made again at once.
func (b *switchboard) changed(l *line, s balancer.SubConnState) {
	old := l.state.Swap(&lineState{s.ConnectivityState, s.ConnectionError})
	b.record(old.is, s.ConnectivityState)
	switch s.ConnectivityState {
	case connectivity.Idle:
		if l.users.Load() < 0 { // nobody needs it any more
			l.conn.Shutdown()
		} else {
			l.conn.Connect()
		}
	case connectivity.Ready:
		b.ready(l)
	default:
	}
	b.publish()
}

func (b *switchboard) record(from, to connectivity.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.states.RecordTransition(from, to)
}

// hangUp shuts the line to a member down; what is under way may finish.
func (b *switchboard) hangUp(m *cluster.Member) {
	if l, ok := b.lines.LoadAndDelete(m); ok {
		b.shutdown(l.(*line))
	}
}

// publish gives gRPC a new picker, which wakes the picks that wait.
func (b *switchboard) publish() {
	b.mu.Lock()
	is := b.states.CurrentState()
	b.mu.Unlock()
	b.cc.UpdateState(balancer.State{ConnectivityState: is, Picker: picker{b}})
}

// ResolverError implements [balancer.Balancer]; the mesh's resolver reports none.
func (b *switchboard) ResolverError(error) {}

// UpdateSubConnState implements [balancer.Balancer]; lines listen for themselves.
func (b *switchboard) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle implements [balancer.Balancer].
func (b *switchboard) ExitIdle() {
	for _, l := range b.lines.Range {
		l.(*line).conn.Connect()
	}
}

// Close implements [balancer.Balancer].
func (b *switchboard) Close() {
	for m := range b.lines.Range {
		b.hangUp(m.(*cluster.Member))
	}
}

// picker plugs attempts in. A new value is a new picker to gRPC; they all look
// at the same lines.
type picker struct{ b *switchboard }

var errNoAttempt = status.Error(codes.Internal,
	"innermesh: call without the mesh's interceptors: dial with all of Mesh.DialOptions")

// Pick finds the connection of the member that the attempt goes to. It waits
// while that is being made, and ends the attempt at once when it can not be, or
// may not yet.
func (p picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	t, ok := info.Ctx.Value(tryKey{}).(*try)
	if !ok {
		return balancer.PickResult{}, errNoAttempt
	}
	m := t.Member()
	found, ok := p.b.lines.Load(m)
	if !ok {
		if m.Gone() {
			return balancer.PickResult{}, status.Errorf(codes.Unavailable, "instance %s has left", m.ID)
		}
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable // a line is about to be opened
	}
	l := found.(*line)
	switch s := l.state.Load(); s.is {
	case connectivity.Ready:
		if !l.take() {
			return balancer.PickResult{}, balancer.ErrNoSubConnAvailable // another has its place, or soon will
		}
		t.line = l
		return balancer.PickResult{SubConn: l.conn, Done: t.done}, nil
	case connectivity.TransientFailure, connectivity.Shutdown:
		return balancer.PickResult{}, &connectError{m.Address, s.err}
	default:
		if full := l.full.Load(); full != nil {
			return balancer.PickResult{}, &connectError{m.Address, full}
		}
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
}

// connectError says that there is no connection to an instance. gRPC passes it on
// as it is, so that callers find what went wrong, such as a peer that was refused.
type connectError struct {
	address string
	err     error
}

// Error implements error.
func (e *connectError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("the connection to %s is shut down", e.address)
	}
	return fmt.Sprintf("connect to %s: %v", e.address, e.err)
}

// Unwrap returns what gRPC had to say about the connection, if anything.
func (e *connectError) Unwrap() error { return e.err }

// GRPCStatus makes the error one that a picker may end a call with.
func (e *connectError) GRPCStatus() *status.Status {
	return status.New(codes.Unavailable, e.Error())
}
