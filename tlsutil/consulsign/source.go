package consulsign

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/grpc"

	"github.com/hashicorp/consul/proto-public/pbconnectca"

	"github.com/innermesh/innermesh/tlsutil"
)

// ErrPermission is part of what [Source.Identity] says while the token may not
// have the certificate.
var ErrPermission = errors.New("the Consul token may not have this certificate: give it service:write on the service")

// Source is a [tlsutil.Source] whose certificates Consul's servers sign. It renews
// by its own clock and follows Consul's roots, as [tlsutil.Renewer] says; while no
// server answers, the last certificate stays until it expires.
//
// Safe for concurrent use. Close ends its goroutines.
type Source struct {
	*tlsutil.Renewer
	conn   *grpc.ClientConn
	cancel context.CancelFunc
	runs   sync.WaitGroup
	once   sync.Once
}

// New follows Consul until Close. It does not wait for an answer: [tlsutil.Ready]
// does. Errors are those of the options.
func New(o Options) (*Source, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("certificate signed by Consul: %w", err)
	}
	conn, err := dial(o)
	if err != nil {
		return nil, fmt.Errorf("certificate signed by Consul: %w", err)
	}
	ca := pbconnectca.NewConnectCAServiceClient(conn)
	signer := &signer{o: o, ca: ca}
	renewer, err := tlsutil.NewRenewer(tlsutil.RenewerOptions{
		Name: fmt.Sprintf("%q from Consul", o.Service), Issue: signer.issue, Smear: o.Smear, Log: o.Log,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("certificate signed by Consul: %w", err), conn.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Source{Renewer: renewer, conn: conn, cancel: cancel}
	s.runs.Go(func() { watch(ctx, o.Token, ca, renewer.Learn) })
	return s, nil
}

// Close stops following and returns when that has ended. The last identity stays
// in use.
func (s *Source) Close() (err error) {
	s.once.Do(func() {
		s.cancel()
		s.runs.Wait()
		err = errors.Join(s.Renewer.Close(), s.conn.Close())
	})
	return err
}
