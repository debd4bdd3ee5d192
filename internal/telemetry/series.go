package telemetry

import (
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/attribute"

	"github.com/innermesh/innermesh/call"
)

// series is what tells the calls of one way apart.
type series struct {
	protocol call.Protocol
	method   string
	status   int
	reason   call.Reason
}

// labels are those that the conventions have for calls of the protocol.
func (s series) labels(service string) []attribute.KeyValue {
	kv := s.about(service)
	if s.protocol == call.GRPC {
		if s.status != 0 || s.reason == call.OK {
			kv = append(kv, attrRPCStatus.String(codeName(s.status)))
		}
	} else if s.status != 0 {
		kv = append(kv, attrStatus.Int(s.status))
	}
	if e := errorType(s); e != "" {
		kv = append(kv, attrError.String(e))
	}
	return kv
}

// about are those of them that are known before the call.
func (s series) about(service string) []attribute.KeyValue {
	if s.protocol == call.GRPC {
		return []attribute.KeyValue{attrServer.String(service), attrRPCSystem.String("grpc"), attrRPCMethod.String(trimSlash(s.method))}
	}
	return []attribute.KeyValue{attrServer.String(service), attrMethod.String(s.method)}
}

// errorType is the status where there is one, else the reason.
func errorType(s series) string {
	switch {
	case s.protocol == call.GRPC && s.status != 0:
		return codeName(s.status)
	case s.protocol == call.HTTP && s.status >= 400:
		return strconv.Itoa(s.status)
	case s.status == 0 && s.reason != call.OK:
		return s.reason.String()
	default:
		return ""
	}
}

// knownMethods are those that the conventions allow as labels.
var knownMethods = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "QUERY"}

func knownMethod(m string) string {
	if slices.Contains(knownMethods[:], m) {
		return m
	}
	return other
}

func trimSlash(method string) string {
	if len(method) > 0 && method[0] == '/' {
		return method[1:]
	}
	return method
}

// codeNames are gRPC's codes by number, as the conventions spell them.
var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func codeName(code int) string {
	if code >= 0 && code < len(codeNames) {
		return codeNames[code]
	}
	return strconv.Itoa(code)
}
