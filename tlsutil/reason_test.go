package tlsutil

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
)

func TestReasonOf(t *testing.T) {
	for want, errs := range map[Reason][]error{
		ReasonDenied:      {&PeerError{Err: ErrDenied}, &PeerError{Err: fmt.Errorf("%w: no", ErrDenied)}},
		ReasonTrustDomain: {&PeerError{Err: fmt.Errorf("%w: %w", ErrUntrusted, ErrForeignDomain)}},
		ReasonTooDeep:     {&PeerError{Err: fmt.Errorf("%w: %w", ErrUntrusted, ErrTooDeep)}},
		ReasonUntrusted:   {fmt.Errorf("handshake: %w", &PeerError{Err: ErrUntrusted})},
		ReasonNoIdentity:  {ErrNoIdentity, fmt.Errorf("own: %w", ErrExpired)},
		ReasonExpired:     {&PeerError{Err: ErrExpired}},
		ReasonPlaintext:   {tls.RecordHeaderError{Msg: "no"}},
		ReasonRefusedUs:   {&net.OpError{Op: "remote error", Err: tls.AlertError(42)}},
		ReasonTimeout:     {context.DeadlineExceeded, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}},
		ReasonAborted:     {io.EOF, io.ErrUnexpectedEOF, context.Canceled, &net.OpError{Op: "read", Err: errors.New("reset")}},
		ReasonOther:       {nil, errors.New("x"), &PeerError{Err: errors.New("x")}},
	} {
		for _, err := range errs {
			if got := ReasonOf(err); got != want {
				t.Errorf("%v: %s, want %s", err, got, want)
			}
		}
	}
}
