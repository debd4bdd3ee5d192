package grpcadapter

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/outbound"
)

// learnIdempotency finds out whether a call may be repeated that neither its
// caller nor its method's declaration says so of: by the service's policy or a key
// in the metadata. It is asked only when an attempt did not go well.
func learnIdempotency(ctx context.Context, f *outbound.Flight) {
	f.Idempotent = f.Idempotent ||
		f.Route().Policy.Retry.Idempotent(f.Method) ||
		keyed(ctx)
}

// Keyed implements [outbound.Request].
func (x *unary) Keyed() (given, needless bool) { return keyOf(x.ctx, &x.Flight) }

// Keyed implements [outbound.Request].
func (x *stream) Keyed() (given, needless bool) { return keyOf(x.ctx, &x.Flight) }

func keyOf(ctx context.Context, f *outbound.Flight) (given, needless bool) {
	return keyed(ctx), f.Route().Policy.Retry.Idempotent(f.Method) || declaredIdempotent(f.Method)
}

func keyed(ctx context.Context) bool {
	md, _ := metadata.FromOutgoingContext(ctx)
	return len(md.Get(idempotency.Metadata)) > 0
}

// declared remembers what was looked up; methods are few.
var declared sync.Map // method to descriptorpb.MethodOptions_IdempotencyLevel

// declaredIdempotent says whether the method's .proto has an idempotency_level
// of NO_SIDE_EFFECTS or IDEMPOTENT. It knows the files linked into the program.
func declaredIdempotent(method string) bool {
	return level(method) != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// declaredSafe says whether the method is declared to change nothing.
func declaredSafe(method string) bool {
	return level(method) == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}

func level(method string) descriptorpb.MethodOptions_IdempotencyLevel {
	if v, ok := declared.Load(method); ok {
		return v.(descriptorpb.MethodOptions_IdempotencyLevel)
	}
	said := descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
	name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
	if d, err := protoregistry.GlobalFiles.FindDescriptorByName(name); err == nil {
		if o, ok := d.Options().(*descriptorpb.MethodOptions); ok {
			said = o.GetIdempotencyLevel()
		}
		declared.Store(method, said) // only what exists: names from outside must not fill the memory
	}
	return said
}
