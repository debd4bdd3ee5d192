package parity

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// calls is how often a request is really sent.
const calls = 25

// Seen is what came of a request that was really sent.
type Seen struct {
	// Refused says that it was not sent: there is nobody to call, or no place for
	// one more call.
	Refused bool
	// Address, Path and Header are those that the instance was called with.
	Address, Path string
	Header        http.Header
	// Answer is the header of the response that came back.
	Answer http.Header
}

// checkCalls sends the request and compares what the instance and the caller see
// with the decision.
func checkCalls(plan *Upstream, d Decision, r Request, got Subject) error {
	for range calls {
		seen, err := got.Call(r)
		if err != nil {
			return fmt.Errorf("call: %w", err)
		}
		if !seen.Refused && seen.Path != d.Path {
			return fmt.Errorf("the instance saw the path %s, want %s", seen.Path, d.Path)
		}
		if made, want := seen.takeCookies(), d.cookies(r); !seen.Refused && !maps.Equal(made, want) {
			return fmt.Errorf("cookies made for the caller: %v, want %v", made, want)
		}
		var faults []error
		fits := slices.ContainsFunc(d.Legs, func(w Way) bool {
			err := plan.Clusters[w.Target].saw(w, seen)
			faults = append(faults, err)
			return err == nil
		})
		if !fits {
			return fmt.Errorf("call to %q fits no leg: %w", seen.Address, errors.Join(faults...))
		}
	}
	return nil
}

// saw says why a call can not have gone this way.
func (c Cluster) saw(w Way, seen Seen) error {
	if refuses := c.refuses(); refuses || seen.Refused {
		if refuses != seen.Refused {
			return fmt.Errorf("%s: a call is refused: %t, want %t", w.Target, seen.Refused, refuses)
		}
		return nil
	}
	known := slices.ContainsFunc(c.Levels, func(l Level) bool {
		return slices.ContainsFunc(l.Endpoints, func(e Endpoint) bool { return e.Address == seen.Address && e.Healthy })
	})
	if !known {
		return fmt.Errorf("%s: no healthy instance has that address", w.Target)
	}
	if diff := Diff(w.Header, seen.Header); diff != "" {
		return fmt.Errorf("%s: header of the request (-decision +call):\n%s", w.Target, diff)
	}
	if diff := Diff(w.Answer, seen.Answer); diff != "" {
		return fmt.Errorf("%s: header of the response (-decision +call):\n%s", w.Target, diff)
	}
	return nil
}

// refuses says whether no call can be made.
func (c Cluster) refuses() bool {
	if l := c.Levels[0].Limits; l.Requests == 0 || l.Connections == 0 && !c.Levels[0].HTTP2 {
		return true
	}
	return !slices.ContainsFunc(c.Shares(), func(s float64) bool { return s > 0 })
}

// cookies are those that are made up for the caller, with their times to live.
func (d Decision) cookies(r Request) map[string]Duration {
	list := map[string]Duration{}
	for _, h := range d.Hash {
		_, err := (&http.Request{Header: r.Header}).Cookie(h.Name)
		there := h.By == "source_ip" || h.By == "header" && r.Header.Get(h.Name) != "" || h.By == "cookie" && err == nil
		if h.Generate && !there {
			list[h.Name+" "+h.Path], there = h.TTL, true
		}
		if h.Terminal && there {
			break
		}
	}
	return list
}

// takeCookies takes the cookies out of the answer.
func (s *Seen) takeCookies() map[string]Duration {
	list := map[string]Duration{}
	for _, c := range (&http.Response{Header: s.Answer}).Cookies() {
		list[c.Name+" "+c.Path] = Duration(c.MaxAge) * Duration(time.Second)
	}
	s.Answer.Del("Set-Cookie")
	return list
}
