package consultest

import (
	"errors"
	"math/rand/v2"
	"net"
)

// ports are those an agent listens on.
type ports struct{ http, grpc, server, serfLAN, serfWAN int }

// freePorts finds ports below the range from which the system takes the local
// ends of outgoing connections: so an agent that is down for a moment finds its
// ports still free.
func freePorts() (ports, error) {
	const from, to = 20000, 32000
	var p ports
	taken := map[int]bool{}
	for _, port := range []*int{&p.http, &p.grpc, &p.server, &p.serfLAN, &p.serfWAN} {
		for tries := 0; *port == 0; tries++ {
			if tries == 1000 {
				return p, errors.New("find free ports: none between 20000 and 32000 on 127.0.0.1")
			}
			if n := from + rand.IntN(to-from); !taken[n] && isFree(n) {
				taken[n] = true
				*port = n
			}
		}
	}
	return p, nil
}

// isFree asks for both protocols: gossip uses the same port of each.
func isFree(port int) bool {
	addr := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
	tcp, err := net.ListenTCP("tcp4", &addr)
	if err != nil {
		return false
	}
	defer tcp.Close() // it was only a question
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: addr.IP, Port: port})
	if err != nil {
		return false
	}
	defer udp.Close() // it was only a question
	return true
}
