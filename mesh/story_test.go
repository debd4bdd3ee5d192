package mesh_test

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/innermesh/innermesh/mesh"
)

// traces keeps the spans of several programs.
type traces struct{ *tracetest.SpanRecorder }

func newTraces() traces { return traces{tracetest.NewSpanRecorder()} }

// of is the telemetry of a program.
func (t traces) of(service string) mesh.TelemetryOptions {
	return mesh.TelemetryOptions{TracerProvider: t.provider(service)}
}

func (t traces) provider(service string) *sdktrace.TracerProvider {
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(t.SpanRecorder),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))))
}

// settle waits until all spans have ended: those of attempts that were given up
// do when their transport has noticed.
func (t traces) settle(tb testing.TB) {
	tb.Helper()
	for end := time.Now().Add(patience); len(t.Ended()) < len(t.Started()); runtime.Gosched() {
		if time.Now().After(end) {
			tb.Fatalf("%d of %d spans have ended", len(t.Ended()), len(t.Started()))
		}
	}
}

// story is what the spans tell, as a tree in text: programs, kinds, names, what
// is not in the name, events, links. What differs from run to run is left out:
// instances are named in the order that they appear.
func (t traces) story(tb testing.TB) string {
	tb.Helper()
	ended := t.Ended()
	if n, m := len(t.Started()), len(ended); n != m {
		tb.Errorf("%d spans have begun, %d have ended", n, m)
	}
	slices.SortStableFunc(ended, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	s := storyteller{of: ended, instances: map[string]string{}}
	for _, span := range ended {
		if s.find(span.Parent()) == nil {
			s.tell(span, "")
		}
	}
	return s.text.String()
}

type storyteller struct {
	of        []sdktrace.ReadOnlySpan
	instances map[string]string
	text      strings.Builder
}

func (s *storyteller) find(c trace.SpanContext) sdktrace.ReadOnlySpan {
	for _, span := range s.of {
		if c.IsValid() && span.SpanContext().SpanID() == c.SpanID() && span.SpanContext().TraceID() == c.TraceID() {
			return span
		}
	}
	return nil
}

func (s *storyteller) tell(span sdktrace.ReadOnlySpan, indent string) {
	kind := map[trace.SpanKind]string{trace.SpanKindInternal: "call", trace.SpanKindClient: "attempt", trace.SpanKindServer: "serve"}[span.SpanKind()]
	service, _ := span.Resource().Set().Value("service.name")
	fmt.Fprintf(&s.text, "%s%s: %s %s%s\n", indent, service.AsString(), kind, span.Name(), s.words(span.Attributes()))
	if status := span.Status(); status.Code == codes.Error && status.Description != "" {
		fmt.Fprintf(&s.text, "%s  ! %s\n", indent, s.anonymous(status.Description))
	}
	for _, l := range span.Links() {
		what := "a span elsewhere"
		if to := s.find(l.SpanContext); to != nil {
			what = "attempt 1"
			if n, ok := value(to.Attributes(), "innermesh.attempt"); ok {
				what = "attempt " + n
			}
		}
		fmt.Fprintf(&s.text, "%s  ^ after %s%s\n", indent, what, s.words(l.Attributes))
	}
	for _, e := range span.Events() {
		fmt.Fprintf(&s.text, "%s  * %s%s\n", indent, e.Name, s.words(e.Attributes))
	}
	for _, child := range s.of {
		if p := child.Parent(); p.IsValid() && p.SpanID() == span.SpanContext().SpanID() {
			s.tell(child, indent+"    ")
		}
	}
}

// words are attributes, without those that the name of a span has or that say the
// same for all.
func (s *storyteller) words(kv []attribute.KeyValue) string {
	kv = slices.Clone(kv)
	slices.SortStableFunc(kv, func(a, b attribute.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	var b strings.Builder
	for _, a := range kv {
		v := a.Value.String()
		switch a.Key {
		case "server.address", "http.request.method", "rpc.system.name", "rpc.method", "network.peer.address",
			"innermesh.source", "innermesh.service":
			continue
		case "innermesh.backoff":
			v = "…"
		case "innermesh.instance":
			if _, known := s.instances[v]; !known {
				s.instances[v] = fmt.Sprintf("#%d", len(s.instances)+1)
			}
			v = s.instances[v]
		}
		fmt.Fprintf(&b, " %s=%s", strings.TrimPrefix(string(a.Key), "innermesh."), v)
	}
	return b.String()
}

// anonymous is a text without addresses and times.
func (s *storyteller) anonymous(text string) string {
	for instance, name := range s.instances {
		text = strings.ReplaceAll(text, instance, name)
	}
	return text
}

func value(kv []attribute.KeyValue, key attribute.Key) (string, bool) {
	for _, a := range kv {
		if a.Key == key {
			return a.Value.String(), true
		}
	}
	return "", false
}
