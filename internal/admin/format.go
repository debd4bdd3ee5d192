package admin

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// rate is calls a second, as people read them.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 0.1:
		return "< 0.1"
	case perSecond < 10:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	default:
		return thousands(uint64(math.Round(perSecond)))
	}
}

// percent is a part of a whole.
func percent(part float64) string {
	p := part * 100
	switch {
	case part == 0:
		return "0 %"
	case p < 0.1:
		return "< 0.1 %"
	case p < 10:
		return strings.TrimSuffix(strconv.FormatFloat(p, 'f', 1, 64), ".0") + " %"
	default:
		return strconv.FormatFloat(p, 'f', 0, 64) + " %"
	}
}

// latency is how long something took; nothing is known of 0.
func latency(s Span) string {
	d := time.Duration(s)
	switch {
	case d <= 0:
		return "–"
	case d < time.Millisecond:
		return fmt.Sprintf("%.2g ms", d.Seconds()*1000)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1000)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
}

// about is a length of time in one unit.
func about(d time.Duration) string {
	units := []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for _, u := range units {
		if d >= 2*u.of || u.of == time.Second || d >= u.of && u.of == time.Minute {
			return fmt.Sprintf("%d %s", int(d/u.of), u.name)
		}
	}
	return ""
}

// ago is how long something is past.
func ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return about(d) + " ago"
}

// toward tells how far a moment is from now, on either side.
func toward(now, at time.Time) string {
	if d := at.Sub(now); d > 0 {
		return "in " + about(d)
	}
	return ago(now.Sub(at))
}

// count is a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return thousands(uint64(max(n, 0))) + " " + thing + "s"
}

// thousands sets narrow spaces between groups of digits.
func thousands(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	if len(digits) < 5 { // four digits are read at a glance
		return digits
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteRune('\u202f')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// limitOf is how much a limit lets in.
func limitOf(l Limit) string {
	if l.PerSecond > 0 {
		return rate(l.PerSecond) + " a second"
	}
	return thousands(uint64(max(l.Most, 0)))
}
