package drill

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or the backend, member or client if that is what this
// process is for.
func TestMain(m *testing.M) {
	agent, service := os.Getenv(agentEnv), os.Getenv(serviceEnv)
	if id := os.Getenv(backendEnv); id != "" {
		exit(backend(id, agent, service))
	}
	if limits := os.Getenv(overloadEnv); limits != "" {
		exit(overloaded(limits))
	}
	if id := os.Getenv(memberEnv); id != "" {
		exit(member(id, agent, service))
	}
	if dir := os.Getenv(clientEnv); dir != "" {
		exit(client(agent, service, dir, os.Getenv(startEnv)))
	}
	if nft := os.Getenv(holeEnv); nft != "" {
		exit(hole(nft))
	}
	if at := os.Getenv(holeAtEnv); at != "" {
		exit(lonely(at))
	}
	goleak.VerifyTestMain(run{m})
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
