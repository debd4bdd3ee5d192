package consulsign_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/innermesh/innermesh/internal/consultest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(consultest.Main(m)) }
