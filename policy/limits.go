package policy

// Limits bounds what one process does to a service at once. What is too much is
// refused at once rather than sent.
type Limits struct {
	// Connections bounds the connections to all instances together.
	// Default: off. Example: 1024.
	Connections Limit `json:"connections,omitzero"`
	// Pending bounds the calls that wait for a connection.
	// Default: off. Example: 64.
	Pending Limit `json:"pending,omitzero"`
	// Concurrency bounds the calls under way.
	// Default: off. Example: 200.
	Concurrency Limit `json:"concurrency,omitzero"`
}

func (l Limits) check(c *checker) {
	c.in("limits", func(c *checker) {
		c.limit("connections", l.Connections)
		c.limit("pending", l.Pending)
		c.limit("concurrency", l.Concurrency)
	})
}
