package consul

import (
	"sync"
	"time"
)

// outageEvery bounds how often the begin of an outage is told, should Consul
// answer and not answer in turns.
const outageEvery = time.Minute

// outage is the trouble that all watches have together: who follows a hundred
// things hears once that Consul does not answer, and once that it does again. It
// is safe for concurrent use.
type outage struct {
	mu     sync.Mutex
	of     map[*watch]string // who is in trouble, and the kind of it
	kinds  map[string]bool   // told of in this outage
	at     time.Time         // when the last one was told
	begun  time.Time
	silent bool // it came too soon after another one to be told
}

// fails notes a watch's trouble, and says whether it is news.
func (o *outage) fails(w *watch, kind string) (tell bool) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.of) == 0 {
		o.of, o.kinds = make(map[*watch]string), make(map[string]bool)
		o.begun, o.silent = now, !o.at.IsZero() && now.Sub(o.at) < outageEvery
	}
	o.of[w] = kind
	if o.silent || o.kinds[kind] {
		return false
	}
	o.kinds[kind], o.at = true, now
	return true
}

// ends notes that a watch has no such trouble any more, and says whether that was
// the last one, and news, and how long there was some.
func (o *outage) ends(w *watch) (tell bool, after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, there := o.of[w]; !there {
		return false, 0
	}
	delete(o.of, w)
	return len(o.of) == 0 && !o.silent, time.Since(o.begun)
}

// isShared says whether trouble of a kind is that of Consul or of the way to it.
// Else it is that of one question.
func isShared(kind string) bool {
	return kind == "unreachable" || kind == "429" || len(kind) == 3 && kind[0] == '5'
}
