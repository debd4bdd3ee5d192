package mesh

import (
	"context"
	"sync"

	"github.com/innermesh/innermesh/policy"
)

// fileDocuments are the policy documents of a local file: one watch for all of
// them, which the shared one of the source keeps.
type fileDocuments struct {
	file *policy.File
	path string

	mu        sync.Mutex
	documents policy.Documents
	read      bool // the file was looked at
	services  map[*fileWatch]struct{}
}

// fileWatch is the watch for one service.
type fileWatch struct {
	service string
	changed chan struct{} // holds one: look again
}

func newFileDocuments(path string) (*fileDocuments, error) {
	f, err := policy.NewFile(policy.FileOptions{Path: path})
	if err != nil {
		return nil, err
	}
	return &fileDocuments{file: f, path: path, services: make(map[*fileWatch]struct{})}, nil
}

func (d *fileDocuments) name() string { return "file " + d.path }
func (d *fileDocuments) shared() bool { return true }

func (d *fileDocuments) watch(ctx context.Context, service string, tell func(policyUpdate)) error {
	if service != "" {
		return d.watchService(ctx, service, tell)
	}
	what := "file " + d.path + " defaults"
	return d.file.Watch(ctx, func(docs policy.Documents, err error) {
		if err != nil {
			d.put(nil)
			tell(policyUpdate{what: what, err: err})
			return
		}
		tell(policyUpdate{what: what, found: true, layers: map[slot]policy.Layer{
			slotSharedFile: {Name: what, Service: docs.Defaults},
		}})
		d.put(&docs)
	})
}

// put notes what the file says, nil if that is no good, and wakes the watches.
func (d *fileDocuments) put(docs *policy.Documents) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.read = true
	if docs != nil {
		d.documents = *docs
	}
	for w := range d.services {
		select {
		case w.changed <- struct{}{}:
		default: // it has not looked yet
		}
	}
}

func (d *fileDocuments) watchService(ctx context.Context, service string, tell func(policyUpdate)) error {
	w := &fileWatch{service, make(chan struct{}, 1)}
	d.mu.Lock()
	d.services[w] = struct{}{}
	if d.read {
		w.changed <- struct{}{}
	}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.services, w)
	}()
	what := "file " + d.path + " services." + service
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.changed:
		}
		d.mu.Lock()
		s, found := d.documents.Services[service]
		d.mu.Unlock()
		tell(policyUpdate{what: what, found: found, layers: map[slot]policy.Layer{slotFile: {Name: what, Service: s}}})
	}
}
