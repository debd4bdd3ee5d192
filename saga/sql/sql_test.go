package sql_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/innermesh/innermesh/saga"
	"github.com/innermesh/innermesh/saga/sagatest"
	"github.com/innermesh/innermesh/saga/sql"
)

var tables atomic.Int32

// open returns a log with a table of its own.
func open(t testing.TB) (l *sql.Log, table string) {
	t.Helper()
	table = fmt.Sprint("sagas_", tables.Add(1))
	l, err := sql.New(sql.Options{DB: database(t), Table: table})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l, table
}

func TestContract(t *testing.T) {
	db := database(t)
	var table string
	sagatest.Run(t, sagatest.Harness{
		Open: func(t *testing.T) saga.Log {
			l, name := open(t)
			table = name
			return l
		},
		Advance: func(t *testing.T, d time.Duration) {
			_, err := db.ExecContext(t.Context(), `UPDATE `+table+` SET not_before = not_before - $1 * interval '1 microsecond',
				leased_until = leased_until - $1 * interval '1 microsecond'`, d.Microseconds())
			if err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestSetupByManyAtOnce(t *testing.T) {
	db := database(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, err := sql.New(sql.Options{DB: db, Table: "crowded"})
			if err == nil {
				err = l.Setup(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestBadOptions(t *testing.T) {
	for _, table := range []string{"Sagas", "a.b.c", "1a", "x; DROP TABLE y", "a."} {
		_, err := sql.New(sql.Options{Table: table})
		if err == nil || !strings.Contains(err.Error(), "DB is nil") || !strings.Contains(err.Error(), "Table is") {
			t.Errorf("%q: got %v", table, err)
		}
	}
}

// Two coordinators share the sagas, and each step has one owner at a time.
func TestManyMachines(t *testing.T) {
	l, table := open(t)
	var now sync.Map
	did := map[int]*atomic.Int32{0: {}, 1: {}}
	machine := func(i int) (*saga.Coordinator, *saga.Definition[int]) {
		db := database(t)
		l, err := sql.New(sql.Options{DB: db, Table: table})
		if err != nil {
			t.Fatal(err)
		}
		def := &saga.Definition[int]{Name: "count", Steps: []saga.Step[int]{{Name: "add", Do: func(ctx context.Context, n *int) error {
			d, _ := saga.From(ctx)
			if _, busy := now.LoadOrStore(d.Saga, true); busy {
				t.Errorf("saga %s has two owners", d.Saga)
			}
			defer now.Delete(d.Saga)
			did[i].Add(1)
			*n++
			return nil
		}}}}
		c, err := saga.New(saga.Options{Log: l, Definitions: []saga.Runnable{def}, MaxRunning: 4, Poll: 10 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return c, def
	}
	a, def := machine(0)
	machine(1)
	const sagas = 200
	var wg sync.WaitGroup
	for i := range sagas {
		wg.Go(func() {
			if err := saga.Start(t.Context(), a, def, fmt.Sprint(i), i); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range sagas {
		info, err := a.Wait(t.Context(), fmt.Sprint(i))
		if err != nil || info.Status != saga.Completed || string(info.State) != fmt.Sprint(i+1) {
			t.Fatalf("saga %d: %v, %s, %v", i, info, info.State, err)
		}
	}
	if p, err := l.List(t.Context(), saga.Query{Limit: sagas + 1}); err != nil || len(p.Sagas) != sagas {
		t.Errorf("%d sagas, %v", len(p.Sagas), err)
	}
	t.Logf("one did %d, the other %d", did[0].Load(), did[1].Load())
	if did[0].Load()+did[1].Load() != sagas || did[1].Load() == 0 {
		t.Error("want each saga once, and some at either")
	}
}
