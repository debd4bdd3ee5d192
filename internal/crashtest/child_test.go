package crashtest_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/internal/crashtest"
)

const program = "INNERMESH_CRASHTEST_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(program) {
	case "":
		goleak.VerifyTestMain(m)
	case "talks":
		os.Exit(crashtest.Program(func() error {
			fmt.Printf("one.\ntwo.\nthr")
			select {}
		}))
	case "fails":
		os.Exit(crashtest.Program(func() error { return errors.New("on purpose") }))
	}
}

func TestWhatIsSaid(t *testing.T) {
	c := crashtest.Start(t, program+"=talks")
	c.First(t)
	said := c.Kill()
	if !slices.Equal(said, []string{"one"}) && !slices.Equal(said, []string{"one", "two"}) {
		t.Errorf("heard %q", said)
	}
	if _, err := crashtest.Start(t, program+"=fails").Wait(); err == nil {
		t.Error("a program that fails ends well")
	}
}

func TestRounds(t *testing.T) {
	t.Setenv("INNERMESH_CRASH_ROUNDS", "3")
	if all := slices.Collect(crashtest.Rounds(t, 0)); !slices.Equal(all, []int{0, 1, 2}) {
		t.Errorf("rounds %v", all)
	}
}
