package outbound

import (
	"fmt"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/policy"
)

// identify gives the call the idempotency key that it goes out with, which makes
// it safe to repeat. What the caller has put on the request itself counts before
// its option, and that before a key of ours. One may be there already: that of
// the call which was redirected to this one.
func (f *Flight) identify(r Request) error {
	o := &f.Options
	minted := f.route.Policy.Retry.Key == policy.KeyMinted
	if o.Key == "" && !o.Keyed && !minted && f.Key == "" {
		return nil
	}
	given, needless := r.Keyed()
	switch {
	case given:
		f.Key = ""
	case o.Key != "":
		if err := idempotency.CheckKey(o.Key); err != nil {
			return fmt.Errorf("the key in call.Options: %w", err)
		}
		f.Key = o.Key
	case f.Key != "":
	case o.Keyed || !needless:
		f.Key = idempotency.NewKey()
	default:
		return nil
	}
	f.Idempotent = true
	return nil
}
