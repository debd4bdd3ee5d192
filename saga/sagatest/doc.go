// Package sagatest is the contract of [saga.Log] as tests. Every engine passes
// it, and whoever writes one runs it:
//
//	func TestContract(t *testing.T) {
//		sagatest.Run(t, sagatest.Harness{Open: open, Advance: advance})
//	}
package sagatest
