//go:build linux

package bench

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/balancer/leastrequest" // by its name below
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	_ "google.golang.org/grpc/xds" // registers outlier detection

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/policy"
)

const (
	inTurn = `{"loadBalancingConfig": [{"round_robin": {}}]}`
	// equipped is what a careful user of grpc-go writes.
	equipped = `{
		"loadBalancingConfig": [{"outlier_detection_experimental": {
			"interval": "1s", "baseEjectionTime": "5s", "maxEjectionPercent": 20,
			"successRateEjection": {"minimumHosts": 3, "requestVolume": 10},
			"failurePercentageEjection": {"threshold": 40, "minimumHosts": 3, "requestVolume": 10},
			"childPolicy": [{"least_request_experimental": {"choiceCount": 2}}]
		}}],
		"methodConfig": [{"name": [{}], "retryPolicy": {
			"maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.1s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}}]
	}`
)

func grpcRivals() []rival {
	return []rival{
		{"oracle", "gRPC", func(t *testing.T, f *fleet) func(context.Context) error {
			return askGRPC(dial(t, inTurn, f.addrs[1:]...))
		}},
		{"innermesh", "gRPC", func(t *testing.T, f *fleet) func(context.Context) error {
			return askGRPC(meshGRPC(t, f, policy.Service{}))
		}},
		{"innermesh, hedged", "gRPC", func(t *testing.T, f *fleet) func(context.Context) error {
			return askGRPC(meshGRPC(t, f, careful))
		}},
		{"grpc-go, round robin", "gRPC", func(t *testing.T, f *fleet) func(context.Context) error {
			return askGRPC(dial(t, inTurn, f.addrs...))
		}},
		{"grpc-go, equipped", "gRPC", func(t *testing.T, f *fleet) func(context.Context) error {
			return askGRPC(dial(t, equipped, f.addrs...))
		}},
		{"haproxy, checks+retries", "gRPC", func(t *testing.T, f *fleet) func(context.Context) error {
			return askGRPC(dial(t, inTurn, proxy(t, f, "gRPC")))
		}},
	}
}

func askGRPC(c grpc.ClientConnInterface) func(context.Context) error {
	client := healthpb.NewHealthClient(c)
	return func(ctx context.Context) error {
		_, err := client.Check(call.With(ctx, call.Options{Idempotent: true}), &healthpb.HealthCheckRequest{Service: "web"})
		return err
	}
}

func meshGRPC(t *testing.T, f *fleet, p policy.Service) grpc.ClientConnInterface {
	t.Helper()
	c, err := meshFor(t, f, p).GRPCClient("web")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dial is grpc-go by itself.
func dial(t *testing.T, config string, addrs ...string) grpc.ClientConnInterface {
	t.Helper()
	r := manual.NewBuilderWithScheme("fleet")
	var state resolver.State
	for _, a := range addrs {
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: a}}})
	}
	r.InitialState(state)
	c, err := grpc.NewClient("fleet:///web", grpc.WithResolvers(r), grpc.WithDefaultServiceConfig(config),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
