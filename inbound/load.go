package inbound

import (
	"fmt"
	"math"
)

// Load says how much of what it may carry the program is carrying, from 0 on; more
// than 1 is too much. It is not known as long as there are no limits.
func (s *Server) Load() (utilization float64, known bool) { return s.limits.Load().load() }

// LoadText is Load as a report of ORCA (Open Request Cost Aggregation, the CNCF's
// xds.data.orca.v3) in its text form, empty if it is not known. It is rounded to a
// hundredth and ends at two, so that the texts are made beforehand.
func (s *Server) LoadText() string {
	utilization, known := s.Load()
	if !known {
		return ""
	}
	return s.loads[int(math.Round(min(max(utilization, 0), mostLoad)*hundredth))]
}

const (
	mostLoad  = 2
	hundredth = 100
)

func loadTexts() (all [mostLoad*hundredth + 1]string) {
	for i := range all {
		all[i] = fmt.Sprintf("TEXT application_utilization=%d.%02d", i/hundredth, i%hundredth)
	}
	return all
}
