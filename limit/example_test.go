package limit_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/innermesh/innermesh/call"
	"github.com/innermesh/innermesh/limit"
)

func ExampleNewBulkhead() {
	ctx := context.Background()
	b := limit.NewBulkhead("inventory", limit.BulkheadOptions{Limit: 1})
	leave, err := b.Enter(ctx)
	fmt.Println(err)
	_, err = b.Enter(ctx)
	fmt.Println(errors.Is(err, limit.ErrFull), err)
	leave.Done(call.OK)
	// Output:
	// <nil>
	// true too many calls under way for inventory: all 1 places are taken; send fewer at once, or raise the limit
}

func ExampleNewAdaptive() {
	a := limit.NewAdaptive("inventory", limit.AdaptiveOptions{})
	for {
		if _, err := a.Enter(context.Background(), limit.Background); err != nil {
			fmt.Println(err)
			break
		}
	}
	_, err := a.Enter(context.Background(), limit.Critical)
	fmt.Println(err)
	// Output:
	// inventory is overloaded: all 3 places for priority background are taken; try again later, elsewhere or not at all
	// <nil>
}
