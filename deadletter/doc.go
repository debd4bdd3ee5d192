// Package deadletter keeps what could not be delivered. A call that is marked
// durable and has failed for good becomes a [Letter] in a [Sink], from where it
// is inspected, sent again or discarded; what may take its time is handed to an
// [Outbox] in the first place, which delivers it at least once.
//
//	sink, err := bolt.Open("letters.db", bolt.Options{})
//	recorder, err := deadletter.NewRecorder(deadletter.RecorderOptions{Sink: sink})
//	client := &http.Client{Transport: recorder.Transport(m.Transport(nil))}
//	req = req.WithContext(deadletter.With(ctx, deadletter.Mark{}))  // this request must not be lost
//	_, err = client.Do(req)                                         // "... kept as letter 06f...": errors.As(*KeptError)
//
// # A letter's life
//
// A letter of an outbox is [Queued]. It is [Waiting] when it has failed for good:
// that is a dead letter. A [Redriver] sends those again, slowly; what fails there
// too often, or what its receiver has called wrong, is [Parked] until somebody
// looks at it. Delivered letters are gone.
//
// All sendings of a letter carry the same idempotency key, which every letter
// has. Delivery is at least once: a sender may be killed between the answer and
// the note of it. Receivers that must not act twice look at the key.
//
// # Engines
//
// Package deadletter/bolt keeps letters in one file on disk, for one process at a
// time. [Memory] is for tests. The nested module deadletter/nats keeps them in NATS JetStream,
// for many machines. Package deadlettertest has the tests that each passes.
package deadletter
