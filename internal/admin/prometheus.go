package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Prometheus asks a Prometheus server who calls whom. It asks at most every ten
// seconds, however many look, and takes an answer of bounded size. It is safe for
// concurrent use.
type Prometheus struct {
	base   *url.URL
	client *http.Client

	turn  chan struct{} // guards what follows
	at    time.Time
	edges []Edge
	err   error
}

// How long an answer is used, how long it may take, and how large it may be.
const (
	fresh    = 10 * time.Second
	patience = 5 * time.Second
	largest  = 8 << 20
)

// NewPrometheus returns what asks the server at an address, such as
// "http://prometheus:9090", which must be a valid one.
func NewPrometheus(address string) *Prometheus {
	base, err := url.Parse(address)
	if err != nil {
		base = new(url.URL) // it was checked before; each question will fail
	}
	return &Prometheus{base: base, turn: make(chan struct{}, 1), client: &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, // it is asked seldom, and nothing is left to close
	}}}
}

// The labels by which a call is told where it comes from and goes to. They are the
// names of package telemetry in Prometheus's spelling, as OpenTelemetry's exporter
// and Prometheus's own receiver write them.
const (
	labelSource = "innermesh_source"
	labelTarget = "innermesh_destination"
	// labelCalled is what is called where nobody knows where that led.
	labelCalled = "innermesh_service"
)

// The histograms of HTTP and of gRPC.
const (
	seriesHTTP = "http_client_request_duration_seconds"
	seriesRPC  = "rpc_client_call_duration_seconds"
)

// each is the change of the series of both protocols a second. They have different
// labels besides, so that no two become one when their names are dropped.
func each(suffix, matchers string) string {
	return `rate({__name__=~"(` + seriesHTTP + `|` + seriesRPC + `)` + suffix + `", ` + labelSource + `!=""` + matchers + `}[2m])`
}

// sumBy adds up some series by edge.
func sumBy(suffix, matchers string) string {
	return "sum by (" + labelSource + ", " + labelTarget + ", " + labelCalled + ") (" + each(suffix, matchers) + ")"
}

// quantile is a quantile of how long calls took, by edge.
func quantile(q string) string {
	by := labelSource + ", " + labelTarget + ", " + labelCalled + ", le"
	return "histogram_quantile(" + q + ", sum by (" + by + ") (" + each("_bucket", "") + "))"
}

// Edges tells who calls whom.
func (p *Prometheus) Edges(ctx context.Context) ([]Edge, error) {
	select {
	case p.turn <- struct{}{}: // who comes meanwhile waits for the same answer
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if time.Since(p.at) >= fresh {
		// The answer is for all who look: one of them may go.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		p.edges, p.err = p.ask(ctx)
		p.at = time.Now()
	}
	return slices.Clone(p.edges), p.err
}

// ask puts the questions one after the other.
func (p *Prometheus) ask(ctx context.Context) ([]Edge, error) {
	type way struct{ from, to string }
	found := map[way]*Edge{}
	var order []way
	for _, q := range []struct {
		query string
		take  func(e *Edge, v float64)
	}{
		{sumBy("_count", ""), func(e *Edge, v float64) { e.Rate += v; e.Known = true }},
		{sumBy("_count", `, error_type!=""`), func(e *Edge, v float64) { e.Errors += v }},
		{quantile("0.5"), func(e *Edge, v float64) { e.P50 = max(e.P50, seconds(v)) }},
		{quantile("0.99"), func(e *Edge, v float64) { e.P99 = max(e.P99, seconds(v)) }},
	} {
		samples, err := p.query(ctx, q.query)
		if err != nil {
			return nil, err
		}
		for _, s := range samples {
			w := way{s.Metric[labelSource], s.Metric[labelTarget]}
			if w.to == "" {
				w.to = s.Metric[labelCalled]
			}
			if w.to == "" || math.IsNaN(s.value) || math.IsInf(s.value, 0) {
				continue
			}
			if found[w] == nil {
				found[w] = &Edge{From: w.from, To: w.to}
				order = append(order, w)
			}
			q.take(found[w], s.value)
		}
	}
	edges := make([]Edge, 0, len(order))
	for _, w := range order {
		e := found[w]
		if e.Rate > 0 {
			e.Errors = min(e.Errors/e.Rate, 1)
		}
		edges = append(edges, *e)
	}
	return edges, nil
}

func seconds(v float64) Span { return Span(v * float64(time.Second)) }

// sample is one value of an answer.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
	value  float64
}

// query asks for the present values of an expression.
func (p *Prometheus) query(ctx context.Context, expr string) ([]sample, error) {
	u := p.base.JoinPath("api/v1/query")
	u.RawQuery = url.Values{"query": {expr}, "timeout": {"4s"}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, errors.New("ask Prometheus: its address is none")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok { // its text has the whole query
			err = ue.Err
		}
		return nil, fmt.Errorf("ask Prometheus at %s: %w", p.base.Host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, largest+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read what Prometheus at %s answers: %w", p.base.Host, err)
	case len(body) > largest:
		return nil, fmt.Errorf("Prometheus at %s answers more than %d bytes", p.base.Host, largest)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("Prometheus at %s answers %s", p.base.Host, resp.Status)
	}
	samples, err := decodeSamples(body)
	if err != nil {
		return nil, fmt.Errorf("understand what Prometheus at %s answers: %w", p.base.Host, err)
	}
	return samples, nil
}

// decodeSamples reads the answer to a query for present values.
func decodeSamples(body []byte) ([]sample, error) {
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Type   string   `json:"resultType"`
			Result []sample `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" || answer.Data.Type != "vector" {
		return nil, fmt.Errorf("%.40q of type %.40q: %.200s", answer.Status, answer.Data.Type, answer.Error)
	}
	for i := range answer.Data.Result {
		s := &answer.Data.Result[i]
		text, ok := s.Value[1].(string)
		if !ok {
			return nil, fmt.Errorf("the value of sample %d is no text", i)
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("the value of sample %d: %w", i, err)
		}
		s.value = v
	}
	return answer.Data.Result, nil
}
