package consulsign

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/consul/proto-public/pbconnectca"

	"github.com/innermesh/innermesh/tlsutil"
)

// watch follows the roots and begins again when the stream ends, until ctx ends.
func watch(ctx context.Context, token string, ca pbconnectca.ConnectCAServiceClient, learn func(tlsutil.Authority, error)) {
	for failures := 0; ctx.Err() == nil; failures++ {
		err := follow(withToken(ctx, token), ca, func(a tlsutil.Authority, err error) {
			failures = 0
			learn(a, err)
		})
		if ctx.Err() != nil {
			return
		}
		// A stream may end without fault, for one when Consul's access rules have
		// changed: that is no news.
		if !errors.Is(err, io.EOF) && failures > 0 {
			learn(tlsutil.Authority{}, explained("follow Consul's roots", err))
		}
		wait := min(250*time.Millisecond<<min(failures, 7), 30*time.Second)
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1))
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// follow reads one stream to its end.
func follow(ctx context.Context, ca pbconnectca.ConnectCAServiceClient, learn func(tlsutil.Authority, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := ca.WatchRoots(ctx, &pbconnectca.WatchRootsRequest{})
	if err != nil {
		return err
	}
	for {
		told, err := stream.Recv()
		if err != nil {
			return err
		}
		learn(authority(told))
	}
}

// authority reads what Consul says of its roots.
func authority(told *pbconnectca.WatchRootsResponse) (tlsutil.Authority, error) {
	var certs []*x509.Certificate
	for i, root := range told.GetRoots() {
		// Intermediates are not for trusting: they travel with the certificates.
		parsed, err := tlsutil.ParseCerts([]byte(root.GetRootCert()))
		if err != nil {
			return tlsutil.Authority{}, fmt.Errorf("root %d of Consul: %w", i+1, err)
		}
		certs = append(certs, parsed...)
	}
	roots, err := tlsutil.NewRoots(map[string][]*x509.Certificate{told.GetTrustDomain(): certs})
	if err != nil {
		return tlsutil.Authority{}, fmt.Errorf("from Consul: %w", err)
	}
	return tlsutil.Authority{Roots: roots, Domain: told.GetTrustDomain(), Active: told.GetActiveRootId()}, nil
}
