package idempotency

import "context"

type keyKey struct{}

// WithKey returns a context that knows the key of the operation which is being
// carried out. [Guard] does so for handlers. It has no effect on calls that are
// made with this context: a key of an operation is not the key of its steps.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyKey{}, key)
}

// KeyFrom returns the key of the operation that is being carried out, "" if it
// has none. Record it with the effect to be safe in a crash, too; for calls made
// on the way see [Derive].
func KeyFrom(ctx context.Context) string {
	key, _ := ctx.Value(keyKey{}).(string)
	return key
}
