package parity

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
)

// How often a request is drawn: where legs share its calls, where levels do, and
// where all go the same way.
const (
	draws         = 100_000
	failoverDraws = 20_000
	fewDraws      = 2_000
)

// deviations is how far from its share something may be drawn, in standard
// deviations: one true splitter in three million is that unlucky.
const deviations = 5.2

// rounding is by how much a level's share may be off because Envoy counts in
// whole percents.
const rounding = 0.01

// checkDraws draws the request and compares where its calls go with the plan,
// which was compared with the sidecar's before: legs, levels, and instances.
func checkDraws(plan *Upstream, d Decision, r Request, got Subject) error {
	n, retries := fewDraws, 0
	if len(d.Legs) > 1 {
		n = draws
	}
	for _, leg := range d.Legs {
		if len(plan.Clusters[leg.Target].Levels) > 1 {
			n, retries = max(n, failoverDraws), failoverDraws
		}
	}
	counts, again := map[Drawn]int{}, map[Drawn]int{}
	for i := range n + retries {
		to, err := got.Draw(r, i >= n)
		if err != nil {
			return fmt.Errorf("draw: %w", err)
		}
		if i < n {
			counts[to]++
		} else {
			again[to]++
		}
	}
	shares := map[string]float64{} // legs may have one target
	for _, leg := range d.Legs {
		shares[leg.Target] += leg.Share
	}
	errs := []error{checkShares("leg", shares, tally(counts, func(to Drawn) string { return to.Leg }), 0)}
	for _, target := range slices.Sorted(maps.Keys(shares)) {
		leg := func(to Drawn) bool { return to.Leg == target }
		c, here := plan.Clusters[target], those(counts, leg)
		errs = append(errs, c.checkLevels(here), c.checkRetries(d.Retry, those(again, leg)))
		for _, l := range c.Levels {
			there := those(here, func(to Drawn) bool { return to.Level == l.Target })
			errs = append(errs, l.check(d.Hash, r, tally(there, func(to Drawn) string { return to.Address })))
		}
	}
	return errors.Join(errs...)
}

func those(counts map[Drawn]int, is func(Drawn) bool) map[Drawn]int {
	out := maps.Clone(counts)
	maps.DeleteFunc(out, func(to Drawn, _ int) bool { return !is(to) })
	return out
}

func tally(counts map[Drawn]int, by func(Drawn) string) map[string]int {
	out := map[string]int{}
	for to, n := range counts {
		out[by(to)] += n
	}
	return out
}

// checkLevels compares where calls went with the levels' shares.
func (c Cluster) checkLevels(counts map[Drawn]int) error {
	shares := map[string]float64{}
	for i, s := range c.Shares() {
		if s > 0 {
			shares[c.Levels[i].Target] = s
		}
	}
	if len(shares) == 0 {
		shares[""] = 1 // nobody
	}
	return checkShares("level", shares, tally(counts, func(to Drawn) string { return to.Level }), rounding)
}

// checkRetries wants retries to go to another level, or just as first attempts.
func (c Cluster) checkRetries(r *Retry, counts map[Drawn]int) error {
	if r == nil || !r.NextLevel || !c.hasOther() {
		return c.checkLevels(counts)
	}
	var errs []error
	for to, n := range counts {
		if to.Level == to.Before {
			errs = append(errs, fmt.Errorf("%d retries stayed on the level %s", n, to.Level))
		}
	}
	return errors.Join(errs...)
}

// hasOther says whether two levels have somebody to call.
func (c Cluster) hasOther() bool {
	n := 0
	for _, l := range c.Levels {
		if l.healthy() > 0 {
			n++
		}
	}
	return n > 1
}

// check compares the instances that calls of one request went to with the
// level's endpoints.
func (l Level) check(hash []Hash, r Request, counts map[string]int) error {
	var sum float64
	shares := map[string]float64{}
	for _, e := range l.Endpoints {
		if e.Healthy {
			shares[e.Address] = float64(e.Weight)
			sum += float64(e.Weight)
		}
	}
	total := 0
	for address, n := range counts {
		total += n
		if shares[address] == 0 {
			return fmt.Errorf("%d calls to %s, which is no healthy instance of %s", n, address, l.Target)
		}
	}
	switch l.Balancer.Policy {
	case "ring_hash", "maglev":
		if len(counts) > 1 && keyed(hash, r) {
			return fmt.Errorf("calls with one key to several instances of %s: %v", l.Target, counts)
		}
		return nil
	case "round_robin", "random":
		for address := range shares {
			shares[address] /= sum
		}
		if total == 0 {
			return nil
		}
		return checkShares("instance", shares, counts, 0)
	default: // goes by load, of which there is none here
		for address := range shares {
			if total >= fewDraws && counts[address] == 0 && shares[address] >= sum/100 {
				return fmt.Errorf("no call of %d to %s of %s", total, address, l.Target)
			}
		}
		return nil
	}
}

// keyed says whether there is something to hash, and all of it stays the same.
func keyed(hash []Hash, r Request) bool {
	found := false
	for _, h := range hash {
		var there bool
		switch h.By {
		case "source_ip":
			there = true
		case "header":
			there = r.Header.Get(h.Name) != ""
		case "query_parameter":
			_, query, _ := strings.Cut(r.path(), "?")
			_, there = parameter(query, h.Name)
		case "cookie":
			_, err := (&http.Request{Header: r.Header}).Cookie(h.Name)
			if there = err == nil; !there && h.Generate {
				return false // another one each time
			}
		}
		if found = found || there; there && h.Terminal {
			break
		}
	}
	return found
}

// checkShares compares what was drawn with the shares of one whole. Each may be
// off by slack.
func checkShares(what string, shares map[string]float64, counts map[string]int, slack float64) error {
	var errs []error
	var total float64
	for _, n := range counts {
		total += float64(n)
	}
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		if shares[key] == 0 {
			errs = append(errs, fmt.Errorf("drawn %s %q %d times, which has no share", what, key, counts[key]))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(shares)) {
		p := shares[key]
		mean, width := p*total, deviations*math.Sqrt(total*p*max(0, 1-p))+slack*total
		// Where the mean is small the normal distribution is too narrow on its right.
		if n := float64(counts[key]); n < mean-width-1e-6 || n > mean+width+deviations {
			errs = append(errs, fmt.Errorf("drawn %s %q %v times of %v, want %.0f ± %.0f", what, key, n, total, mean, width))
		}
	}
	return errors.Join(errs...)
}
