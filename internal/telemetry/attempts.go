package telemetry

// Attempt is why an attempt is made.
type Attempt uint8

// The kinds of attempts.
const (
	// First is a call's first attempt.
	First Attempt = iota
	// Retry follows one that failed.
	Retry
	// Hedge is made beside one that is not answered yet.
	Hedge

	attemptKinds
)

// String returns the word used in metrics and spans.
func (a Attempt) String() string { return [attemptKinds]string{"first", "retry", "hedge"}[a] }

// Refusal is why an attempt that failed is not followed by another.
type Refusal uint8

// The refusals, in the order of the errors of package retry.
const (
	RefusedBudget Refusal = iota
	RefusedTime
	RefusedUnsafe
	RefusedNested
	RefusedAttempts
	RefusedPushback

	refusals
)

// String returns the word used in metrics and spans.
func (r Refusal) String() string {
	return [refusals]string{"budget", "time", "unsafe", "nested", "attempts", "pushback"}[r]
}
