package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPagesRender(t *testing.T) {
	p := New(Options{Process: func() Process { return Process{Service: "checkout"} }})
	t.Cleanup(p.Close)
	for _, v := range views {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+v.path, nil))
		if w.Code != 200 && v.path != "upstream" {
			t.Errorf("%s: %d %s", v.path, w.Code, w.Body)
		}
		if !strings.Contains(w.Body.String(), "</html>") {
			t.Errorf("%s is no page", v.path)
		}
	}
}
