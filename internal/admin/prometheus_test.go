package admin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// answers is a Prometheus that has one answer to each kind of question.
func answers(t *testing.T, asked *atomic.Int64, by func(query string) string) *Prometheus {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if user, password, _ := r.BasicAuth(); r.URL.Path != "/sub/api/v1/query" || user != "reader" || password != "secret" {
			http.Error(w, "not you", http.StatusUnauthorized)
			return
		}
		_, _ = fmt.Fprint(w, by(r.FormValue("query")))
	}))
	t.Cleanup(server.Close)
	return NewPrometheus(strings.Replace(server.URL, "http://", "http://reader:secret@", 1) + "/sub")
}

func vector(samples ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(samples, ",") + `]}}`
}

func edge(from, to, called, value string) string {
	return fmt.Sprintf(`{"metric":{"innermesh_source":%q,"innermesh_destination":%q,"innermesh_service":%q},"value":[1.7e9,%q]}`, from, to, called, value)
}

func TestPrometheus(t *testing.T) {
	var asked atomic.Int64
	p := answers(t, &asked, func(q string) string {
		switch {
		case strings.Contains(q, "error_type"):
			return vector(edge("web", "orders", "orders", "5"))
		case strings.Contains(q, "0.99"):
			return vector(edge("web", "orders", "orders", "0.25"), edge("orders", "stock", "stock", "NaN"))
		case strings.Contains(q, "0.5"):
			return vector(edge("web", "orders", "orders", "0.01"))
		default:
			return vector(edge("web", "orders", "orders", "20"), edge("orders", "stock", "stock", "0"), edge("orders", "", "lost", "2"))
		}
	})
	edges, err := p.Edges(t.Context())
	if err != nil || len(edges) != 3 {
		t.Fatalf("%+v, %v", edges, err)
	}
	if e := edges[0]; e.From != "web" || e.To != "orders" || e.Rate != 20 || e.Errors != 0.25 ||
		time.Duration(e.P50) != 10*time.Millisecond || time.Duration(e.P99) != 250*time.Millisecond {
		t.Errorf("got %+v", e)
	}
	if e := edges[1]; e.To != "stock" || e.Rate != 0 || e.P99 != 0 {
		t.Errorf("got %+v", e)
	}
	if e := edges[2]; e.To != "lost" {
		t.Errorf("a call that came nowhere leads to %q", e.To)
	}
	before := asked.Load()
	if _, err := p.Edges(t.Context()); err != nil || asked.Load() != before {
		t.Errorf("asked again at once, or %v", err)
	}
}

// Whatever comes back, the page has something to say, and never the password.
func TestPrometheusFails(t *testing.T) {
	for name, answer := range map[string]string{
		"nonsense": "<html>", "an error": `{"status":"error","error":"bad query"}`, "another type": `{"status":"success","data":{"resultType":"matrix"}}`,
		"no text": `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,2]}]}}`, "too much": strings.Repeat(" ", largest+1),
	} {
		var asked atomic.Int64
		p := answers(t, &asked, func(string) string { return answer })
		edges, err := p.Edges(t.Context())
		if err == nil || edges != nil {
			t.Errorf("%s: %v, %v", name, edges, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error has the password: %v", name, err)
		}
	}
	if _, err := NewPrometheus("http://reader:secret@127.0.0.1:1").Edges(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody there: %v", err)
	}
}

func FuzzDecodeSamples(f *testing.F) {
	f.Add([]byte(vector(edge("a", "b", "b", "1"))))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"x"]}]}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		samples, err := decodeSamples(body)
		if err != nil && samples != nil {
			t.Error("an answer and an error")
		}
	})
}
