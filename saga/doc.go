// Package saga changes things in several places such that either all changes
// happen or those that have happened are taken back. A [Definition] lists steps,
// each with an action and what undoes it; a [Coordinator] carries sagas out and
// writes down in a [Log] how far each has come, so that after a crash at any
// point every one of them ends [Completed] or [Compensated].
//
//	order := &saga.Definition[Order]{Name: "order", Version: 1, Steps: []saga.Step[Order]{
//		{Name: "reserve", Do: reserve, Undo: release},
//		{Name: "charge", Do: charge, Pivot: true},
//		{Name: "ship", Do: ship},
//	}}
//	c, err := saga.New(saga.Options{Log: log, Definitions: []saga.Runnable{order}})
//	err = saga.Start(ctx, c, order, "order-17", Order{Item: "lamp"})
//
// # What a step may rely on
//
// A step is carried out at least once. Before an attempt begins that is written
// down, and so is how it has ended; who dies in between leaves an attempt behind
// that nobody knows the end of, and it is made again. All attempts of a step
// carry one idempotency key, which calls through a mesh send along, see [From]: a
// receiver that looks at the key (package idempotency) acts once.
//
// A step that was begun is undone, also if it has failed, because one that ran
// out of time may have been carried out all the same. So Undo must cope with a
// Do that had no effect or whose request arrives later still; it knows the key
// of that request ([Doing.DoKey]) and can tell the receiver never to accept it.
// A Do that is sure to have done nothing says so with [NoEffect].
//
// After the pivot a saga only goes forward: what follows is tried until it
// succeeds. What can go neither forward nor back is [Stuck]; it becomes a dead
// letter, and waits for [Coordinator.Retry] or [Coordinator.Resolve].
//
// # Engines
//
// Package saga/bolt keeps the log in one file on disk, for one process at a time.
// The nested module saga/sql keeps it in PostgreSQL, for many machines: a saga
// has one owner at a time, by a lease. [Memory] is for tests. Package sagatest
// has the tests that each engine passes.
package saga
