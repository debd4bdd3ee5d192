package httpadapter

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/innermesh/innermesh/internal/mono"
)

// The pauses between connections that are only to be kept ready, once as many as
// are wanted were made at once, and how long they must last for another burst.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 5 * time.Second
	shortLived = 5 * time.Second
)

// keep has the least number of connections made, and made again when they are
// gone. The caller holds the lock.
func (l *line) keep() {
	if l.terms.min > 0 && !l.keeping && !l.leaving {
		l.keeping = l.conns.begin(l.keeper)
	}
}

// lack says that there may be too few connections. The caller holds the lock.
func (l *line) lack() {
	select {
	case l.short <- struct{}{}:
	default:
	}
}

// keeper makes connections while there are fewer than are wanted, one after the
// other. It ends when none are wanted any more.
func (l *line) keeper() {
	made, pause, last := 0, time.Duration(0), mono.Now()
	for {
		lacks, least, on := l.lacks()
		switch now := mono.Now(); {
		case !on:
			return
		case !lacks:
			select {
			case <-l.short:
			case <-l.conns.closing.Done():
			}
			continue
		case now-last > shortLived:
			made, pause = 0, 0
		}
		if made >= least {
			pause = min(max(2*pause, firstPause), lastPause)
			if !l.sleep(pause) {
				continue
			}
		}
		made++
		l.spare()
		last = mono.Now()
	}
}

// lacks says whether there are too few connections, how many there should be, and
// whether that is still anybody's wish.
func (l *line) lacks() (lacks bool, least int, on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.terms.min <= 0 || l.leaving || l.conns.closing.Err() != nil {
		l.keeping = false
		return false, 0, false
	}
	return l.isShort(), l.terms.min, true
}

// isShort says whether there are too few connections.
func (l *line) isShort() bool {
	return l.live+l.dialing < l.terms.min && (l.terms.most <= 0 || l.open < l.terms.most)
}

// spare makes a connection that nobody waits for.
func (l *line) spare() {
	l.mu.Lock()
	if !l.isShort() {
		l.mu.Unlock()
		return
	}
	l.open++
	l.dialing++
	l.mu.Unlock()
	c, err := l.connect(l.conns.closing, func() bool { return !l.leaving })
	l.mu.Lock()
	l.dialing--
	var dead []*conn
	if err == nil {
		dead, err = l.join(c, mono.Now())
	}
	if err != nil && !errors.Is(err, errNotNeeded) {
		l.failDial(l.conns.closing, nil, err, mono.Now())
	}
	l.again()
	l.mu.Unlock()
	hangUp(dead)
}

// sleep pauses, and says whether it was to the end.
func (l *line) sleep(d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.conns.closing.Done():
		return false
	}
}
