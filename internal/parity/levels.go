package parity

// Unlimited stands for the limits that innermesh does not set.
const Unlimited = 1<<32 - 1

// Shares is how much of the cluster's requests each level gets: a level keeps all
// that are not for the ones before it until fewer than 1/1.4 of its endpoints are
// healthy, and the rest goes on. Levels that together cannot carry everything
// share it in proportion; if each of them is below the panic threshold as well,
// they share it by their numbers of endpoints. All are 0 if nobody can be called
// and nobody panics.
//
// Envoy rounds each step to whole percents, which is not done here. Source: its
// documentation, "Priority levels" and "Panic threshold".
func (c Cluster) Shares() []float64 {
	shares := make([]float64, len(c.Levels))
	var sum, hosts float64
	panics := c.PanicThreshold > 0
	for i, l := range c.Levels {
		healthy := l.healthy()
		shares[i] = min(1, 1.4*healthy)
		sum += shares[i]
		hosts += float64(len(l.Endpoints))
		panics = panics && 100*healthy < c.PanicThreshold
	}
	switch {
	case sum >= 1:
		rest := 1.0
		for i := range shares {
			shares[i] = min(shares[i], rest)
			rest -= shares[i]
		}
	case panics && hosts > 0:
		for i, l := range c.Levels {
			shares[i] = float64(len(l.Endpoints)) / hosts
		}
	case sum > 0:
		for i := range shares {
			shares[i] /= sum
		}
	}
	return shares
}

// healthy is the part of the endpoints that is.
func (l Level) healthy() float64 {
	n := 0
	for _, e := range l.Endpoints {
		if e.Healthy {
			n++
		}
	}
	return float64(n) / float64(max(1, len(l.Endpoints)))
}
