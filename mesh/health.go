package mesh

import (
	"context"

	"github.com/innermesh/innermesh/health"
)

// leaving is what holds a program that has begun to leave.
const leaving = "leaving"

// Health says whether this program lives and is ready, and takes the checks that
// it is judged by:
//
//	remove, err := m.Health().Add(health.Check{Name: "db", Func: db.PingContext})
//
// It is not ready until it is told so, which [Mesh.Register] and [Mesh.Serve] do,
// and only while the registry does not hold it in maintenance. What it says goes
// to the registry with each registration.
func (m *Mesh) Health() *health.Monitor { return m.health }

// openHealth is the first room, and so the last to be closed: registrations
// report from it.
func (m *Mesh) openHealth() {
	m.health = health.New(health.Options{Logger: m.log})
	m.onClose(func(context.Context) error { m.health.Close(); return nil })
}
