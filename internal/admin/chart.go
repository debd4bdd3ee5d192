package admin

import (
	"math"
	"strconv"
)

// Series are the lines that can be drawn of the past.
const (
	seriesRate   = "rate"
	seriesErrors = "errors"
	seriesP50    = "p50"
	seriesP99    = "p99"
)

func series(points []Point, which string) []float64 {
	all := make([]float64, len(points))
	for i, p := range points {
		switch which {
		case seriesRate:
			all[i] = p.Rate
		case seriesErrors:
			all[i] = p.Errors
		case seriesP50:
			all[i] = float64(p.P50)
		case seriesP99:
			all[i] = float64(p.P99)
		}
	}
	return all
}

// The box that lines are drawn in; it is stretched to whatever room there is.
const (
	chartWidth  = 89
	chartHeight = 24
)

// spark is the path of a small line, every other point of it, empty if there is
// nothing but zeros. The latest moment is on the right.
func spark(points []Point, which string) string {
	values := series(points, which)
	top := highest(values)
	if top == 0 {
		return ""
	}
	return line(values, top, 2)
}

// chart is a larger line with what is said about it.
type chart struct {
	Line, Area string
	Top        float64
}

// charted draws a line against a given top; 0 is its own.
func charted(points []Point, which string, top float64) chart {
	values := series(points, which)
	c := chart{Top: max(top, highest(values))}
	if c.Top == 0 {
		return c
	}
	c.Line = line(values, c.Top, 1)
	if len(values) > 1 {
		left := strconv.FormatFloat(across(0, len(values)), 'f', -1, 64)
		c.Area = "M" + left + " " + strconv.Itoa(chartHeight) + "L" + c.Line[1:] + "V" + strconv.Itoa(chartHeight) + "Z"
	}
	return c
}

// least is how many points a line spreads over the width at least: in the first
// minute it grows, then it covers more and more time.
const least = 30

// line is a path through the values, the last of which is at the right end.
func line(values []float64, top float64, step int) string {
	path := make([]byte, 0, 8*len(values)/step+8)
	for i, v := range values {
		if (len(values)-1-i)%step != 0 {
			continue
		}
		lead := byte('L')
		if len(path) == 0 {
			lead = 'M'
		}
		path = append(path, lead)
		path = strconv.AppendFloat(path, across(i, len(values)), 'f', -1, 64)
		path = append(path, ' ')
		path = strconv.AppendFloat(path, tenth(chartHeight-1-v/top*(chartHeight-2)), 'f', -1, 64)
	}
	return string(path)
}

// across is how far right a point lies.
func across(i, of int) float64 {
	return tenth(chartWidth - float64(of-1-i)*chartWidth/float64(max(of, least)-1))
}

func tenth(v float64) float64 { return math.Round(v*10) / 10 }

func highest(values []float64) (top float64) {
	for _, v := range values {
		top = max(top, v)
	}
	return top
}
