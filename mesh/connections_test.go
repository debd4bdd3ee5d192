package mesh_test

import (
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/innermesh/innermesh/mesh"
)

// A connection is active while it carries a call, then idle.
func TestConnectionsAreCounted(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	told := func() map[string]int64 {
		got := make(map[string]int64)
		for _, m := range collect(t, reader) {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "innermesh.client.connections" {
				for _, p := range sum.DataPoints {
					state, _ := p.Attributes.Value(attribute.Key("innermesh.state"))
					got[state.AsString()] = p.Value
				}
			}
		}
		return got
	}
	is := func(active, idle int64) {
		t.Helper()
		eventually(t, patience, "connections are counted", func() bool {
			got := told()
			return len(got) == 2 && got["active"] == active && got["idle"] == idle
		})
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	m := newMesh(t, mesh.Options{
		Telemetry: mesh.TelemetryOptions{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))},
		Discovery: addresses{"web": {web(t, func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave })}},
	})
	client := m.HTTPClient()
	done := make(chan error, 2)
	for range 2 {
		go func() {
			res, err := client.Do(request(t, http.MethodGet, "http://web/", nil))
			if err == nil {
				err = res.Body.Close()
			}
			done <- err
		}()
	}
	<-entered
	<-entered
	is(2, 0)
	leave <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	is(1, 1)
	leave <- struct{}{}
	if err := <-done; err != nil {
		t.Error(err)
	}
	is(0, 2)
	client.CloseIdleConnections()
	is(0, 0)
}
