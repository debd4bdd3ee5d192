package inbound

import (
	"testing"
	"time"
)

func TestPanicsAreToldOfTenTimesAMinute(t *testing.T) {
	var p panics
	tell := func(now time.Duration, calls, want, wantUntold int) {
		t.Helper()
		told, untold := 0, 0
		for range calls {
			if n, ok := p.tell(now); ok {
				told, untold = told+1, untold+n
			}
		}
		if told != want || untold != wantUntold {
			t.Errorf("told of %d of %d panics, and of %d before; want %d and %d", told, calls, untold, want, wantUntold)
		}
	}
	tell(time.Second, 9, 9, 0)
	tell(50*time.Second, 5, 1, 0)
	tell(61*time.Second, 1, 1, 4)
	tell(2*time.Minute, 1000, 9, 0)
	tell(10*time.Minute, 1, 1, 991)
}
