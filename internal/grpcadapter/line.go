package grpcadapter

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"

	"github.com/innermesh/innermesh/internal/cluster"
	"github.com/innermesh/innermesh/limit"
)

// line is the connection to one member. gRPC makes it again when it is lost; when
// it has become too old another line takes its place.
type line struct {
	board  *switchboard
	member *cluster.Member
	conn   balancer.SubConn
	state  atomic.Pointer[lineState]
	full   atomic.Pointer[limit.FullError] // why it is not being made yet, nil if it is
	users  atomic.Int64                    // attempts on it, less noMore once it takes none

	// The switchboard's lock guards what follows.
	instead *line // whose place it takes when it is ready
	heir    *line // who takes its own
	down    bool
	since   time.Time     // when it was ready
	most    time.Duration // how old it may become, 0 is any
	timer   *time.Timer   // makes the heir
}

// lineState is what gRPC said last about the connection.
type lineState struct {
	is  connectivity.State
	err error
}

// enter takes a place among the connections to all instances, and waits for it as
// long as a connection may take. Calls go elsewhere meanwhile: those who have
// places keep them. Who takes another's place does not wait for a further one, which
// might never come.
func (l *line) enter(ctx context.Context) error {
	quota := l.member.Cluster.Quota()
	l.board.mu.Lock()
	replaces := l.instead != nil
	l.board.mu.Unlock()
	if replaces {
		quota.Exceed()
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout(ctx))
	defer cancel()
	err := quota.Enter(ctx, func() {
		l.full.Store(quota.Full())
		l.board.publish()
	})
	l.full.Store(nil)
	return err
}

// ready puts a line that was made instead of another in its place, and sees to it
// that it is replaced in time.
func (b *switchboard) ready(l *line) {
	b.mu.Lock()
	over := l.instead
	if l.instead = nil; over != nil {
		over.heir = nil
		if !b.lines.CompareAndSwap(l.member, over, l) { // the member has left
			over = l
		}
	}
	if l.since, l.most = time.Now(), 0; l.timer != nil { // gRPC has made it again
		l.timer.Stop()
	}
	b.mu.Unlock()
	b.age(l)
	if over != nil {
		b.shutdown(over)
	}
}

// age has a line replaced when it is too old by the policy's word.
func (b *switchboard) age(l *line) {
	most := max(time.Duration(l.member.Cluster.View().Policy.Connections.MaxAge), 0)
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.down || l.most == most || l.since.IsZero() {
		return
	}
	l.most = most
	if l.timer != nil {
		l.timer.Stop()
	}
	if most > 0 {
		most -= time.Duration(rand.Int64N(int64(most)/5 + 1))
		l.timer = time.AfterFunc(time.Until(l.since.Add(most)), func() { b.renew(l) })
	}
}

// renew makes another connection to the member of a line that is too old. It
// goes on as long as the other can not be made.
func (b *switchboard) renew(l *line) {
	b.mu.Lock()
	if l.down || l.heir != nil {
		b.mu.Unlock()
		return
	}
	b.mu.Unlock()
	heir := b.open(l.member, l)
	if heir == nil {
		return
	}
	b.mu.Lock()
	late := l.down
	if !late {
		l.heir = heir
	}
	b.mu.Unlock()
	if late {
		b.shutdown(heir)
		return
	}
	heir.conn.Connect()
}

// shutdown gives a line up, and who would have taken its place; what is under way
// there may finish.
func (b *switchboard) shutdown(l *line) {
	b.mu.Lock()
	if l.down {
		b.mu.Unlock()
		return
	}
	l.down = true
	if l.timer != nil {
		l.timer.Stop()
	}
	heir := l.heir
	b.mu.Unlock()
	l.retire()
	if heir != nil {
		b.shutdown(heir)
	}
}

// noMore is more than there can be attempts.
const noMore = 1 << 60

// take counts an attempt in, unless the line takes no more.
func (l *line) take() bool {
	for {
		n := l.users.Load()
		if n < 0 {
			return false
		}
		if l.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// give counts an attempt out.
func (l *line) give() {
	if l.users.Add(-1) == -noMore {
		l.conn.Shutdown()
	}
}

// retire takes no more attempts, and hangs up after the last one. gRPC would let
// streams finish, too, but a call that comes to the connection at that very moment
// then waits there to the end of its time (http2Client.NewStream of v1.85 finds it
// draining, and waits for a place on it that nobody will give).
func (l *line) retire() {
	if l.users.Add(-noMore) == -noMore {
		l.conn.Shutdown()
	}
}
