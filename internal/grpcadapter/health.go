package grpcadapter

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/innermesh/innermesh/discovery"
	"github.com/innermesh/innermesh/health"
)

// The names, beside those of a server's services, that its health service knows:
// whether the program lives, and whether it is ready.
const (
	serviceLive  = "livez"
	serviceReady = "readyz"
)

// Health is gRPC's health service, told by a monitor: all services of a server,
// and the server itself under the empty name, are as the program is. It starts no
// goroutine.
type Health struct {
	healthpb.UnimplementedHealthServer
	monitor *health.Monitor
	done    <-chan struct{}
	known   func() []string
}

// NewHealth returns the health service of server. Those who watch are sent away
// when done is closed, or a server that leaves would wait for them.
func NewHealth(server *grpc.Server, monitor *health.Monitor, done <-chan struct{}) *Health {
	return &Health{monitor: monitor, done: done, known: sync.OnceValue(func() []string {
		names := []string{"", serviceLive, serviceReady}
		for name := range server.GetServiceInfo() {
			names = append(names, name)
		}
		return names
	})}
}

// Register registers the service with its server, unless the program has done so
// with one of its own, and says whether it did.
func (h *Health) Register(server *grpc.Server) bool {
	if _, own := server.GetServiceInfo()[healthpb.Health_ServiceDesc.ServiceName]; own {
		return false
	}
	healthpb.RegisterHealthServer(server, h)
	return true
}

// Check implements the health service.
func (h *Health) Check(_ context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s := h.status(req.GetService())
	if s == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Errorf(codes.NotFound, "unknown service %q", req.GetService())
	}
	return &healthpb.HealthCheckResponse{Status: s}, nil
}

// List implements the health service.
func (h *Health) List(context.Context, *healthpb.HealthListRequest) (*healthpb.HealthListResponse, error) {
	all := make(map[string]*healthpb.HealthCheckResponse, len(h.known()))
	for _, name := range h.known() {
		all[name] = &healthpb.HealthCheckResponse{Status: h.status(name)}
	}
	return &healthpb.HealthListResponse{Statuses: all}, nil
}

// Watch implements the health service: it tells the status now and whenever it
// changes.
func (h *Health) Watch(req *healthpb.HealthCheckRequest, stream grpc.ServerStreamingServer[healthpb.HealthCheckResponse]) error {
	last := healthpb.HealthCheckResponse_ServingStatus(-1)
	for {
		changed := h.monitor.Changed()
		if now := h.status(req.GetService()); now != last {
			if err := stream.Send(&healthpb.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-changed:
		case <-h.done:
			return status.Error(codes.Unavailable, "the server is leaving")
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

func (h *Health) status(service string) healthpb.HealthCheckResponse_ServingStatus {
	if !slices.Contains(h.known(), service) {
		return healthpb.HealthCheckResponse_SERVICE_UNKNOWN
	}
	state, _ := h.monitor.Health()
	if service == serviceLive && h.monitor.Report().Live || service != serviceLive && state != discovery.Critical {
		return healthpb.HealthCheckResponse_SERVING
	}
	return healthpb.HealthCheckResponse_NOT_SERVING
}

// Unary answers the health service itself and has arrived called for every other
// call. It stands before all other interceptors: who asks how the server is must
// not be turned away because it has much to do.
func (h *Health) Unary(arrived func()) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if info.Server == h {
			switch asked := req.(type) {
			case *healthpb.HealthCheckRequest:
				return h.Check(ctx, asked)
			case *healthpb.HealthListRequest:
				return h.List(ctx, asked)
			}
		}
		arrived()
		return next(ctx, req)
	}
}

// Stream is Unary for streams.
func (h *Health) Stream(arrived func()) grpc.StreamServerInterceptor {
	return func(srv any, s grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if srv == h && info.FullMethod == healthpb.Health_Watch_FullMethodName {
			req := new(healthpb.HealthCheckRequest)
			if err := s.RecvMsg(req); err != nil {
				return err
			}
			return h.Watch(req, &grpc.GenericServerStream[healthpb.HealthCheckRequest, healthpb.HealthCheckResponse]{ServerStream: s})
		}
		arrived()
		return next(srv, s)
	}
}
