// Package deadlettertest has the tests that every sink of dead letters passes:
//
//	func TestSink(t *testing.T) {
//		deadlettertest.Run(t, func(t deadlettertest.TB) deadletter.Sink { ... })
//	}
package deadlettertest
