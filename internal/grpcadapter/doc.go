// Package grpcadapter translates between grpc-go and the outbound path.
//
// Interceptors describe a call, send its attempts and judge their status. The
// pick is made on the outbound path; gRPC's balancer is a switchboard that plugs
// the attempt into the connection of the instance that was picked, and tells
// afterwards whether anything was sent, which is what makes a retry safe.
package grpcadapter
