package mesh_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/innermesh/innermesh/mesh"
	"github.com/innermesh/innermesh/policy"
)

// Over HTTP/2 an answer may come before the request's body has been sent: the
// caller gets it, and may go on to send.
func TestHTTP2AnswersBeforeTheBodyEnds(t *testing.T) {
	m := newMesh(t, mesh.Options{
		Defaults: policy.Service{HTTP: policy.HTTP{Protocol: policy.HTTP2}},
		Discovery: addresses{"web": {h2cWeb(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.Copy(w, r.Body)
		})}},
	})
	body, say := io.Pipe()
	res, err := m.HTTPClient().Do(request(t, http.MethodPost, "http://web/", body).WithContext(limited(t)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := say.Write([]byte("now")); err != nil {
		t.Error(err)
	}
	_ = say.Close()
	if text := read(t, res); text != "now" {
		t.Errorf("got %q", text)
	}
}
