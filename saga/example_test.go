package saga_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/innermesh/innermesh/saga"
)

// Trip is what a saga of the example knows.
type Trip struct {
	Traveller string
	Flight    string
}

// A trip is a flight and a room, or nothing.
func Example() {
	trip := &saga.Definition[Trip]{Name: "trip", Steps: []saga.Step[Trip]{
		{
			Name: "flight",
			Do: func(_ context.Context, t *Trip) error {
				t.Flight = "IM 42"
				fmt.Println("booked", t.Flight)
				return nil
			},
			Undo: func(_ context.Context, t *Trip) error {
				fmt.Println("cancelled", t.Flight)
				return nil
			},
		},
		{
			Name: "room",
			Do: func(context.Context, *Trip) error {
				return saga.NoEffect(errors.New("the hotel is full"))
			},
		},
	}}
	ctx := context.Background()
	c, err := saga.New(saga.Options{Log: new(saga.Memory), Definitions: []saga.Runnable{trip}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	if err := saga.Start(ctx, c, trip, "trip-1", Trip{Traveller: "Ada"}); err != nil {
		log.Fatal(err)
	}
	end, err := c.Wait(ctx, "trip-1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(end.Status, "because of", end.Error)
	// Output:
	// booked IM 42
	// cancelled IM 42
	// compensated because of room: the hotel is full
}
