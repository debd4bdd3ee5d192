package sql_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/innermesh/innermesh/idempotency"
	"github.com/innermesh/innermesh/internal/crashtest"
	"github.com/innermesh/innermesh/saga"
	sagasql "github.com/innermesh/innermesh/saga/sql"
)

// What turns the test binary into a program that is killed.
const crashDSN = "INNERMESH_SAGA_SQL_CRASH"

const machines = 2

// TestCrash runs programs that share the sagas, and kills one after the other.
// The others take over: every saga ends, and each effect is there once or taken
// back.
func TestCrash(t *testing.T) {
	db := database(t)
	l, err := sagasql.New(sagasql.Options{DB: db, Table: "crash"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	exec1(t, db, `CREATE TABLE effects (key text PRIMARY KEY, saga text, step text)`)
	exec1(t, db, `CREATE TABLE owners (saga text, step text, token bigint)`)
	start := func() *crashtest.Child { return crashtest.Start(t, crashDSN+"="+dsn()) }
	var children [machines]*crashtest.Child
	for i := range children {
		children[i] = start()
	}
	killed := 0
	for range crashtest.Rounds(t, 8*time.Second) {
		crashtest.Pause(t, 150*time.Millisecond)
		i := rand.IntN(machines)
		children[i].Kill()
		children[i] = start()
		killed++
	}
	for _, c := range children {
		c.Kill()
	}

	c, err := newMachine(db) // the last one carries out what is left
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	ends := map[saga.Status]int{}
	for q := (saga.Query{}); ; {
		page, next, err := c.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page {
			end, err := c.Wait(t.Context(), i.ID)
			if err != nil || !end.Status.Ended() {
				t.Fatalf("%v has not ended: %v, %s", end, err, end.Error)
			}
			ends[end.Status]++
			want := 0
			if end.Status == saga.Completed {
				want = 3
			}
			if got := count(t, db, `SELECT count(*) FROM effects WHERE saga = $1`, i.ID); got != want {
				t.Errorf("%v has left %d effects, want %d", end, got, want)
			}
		}
		if q.After = next; next == "" {
			break
		}
	}
	taken := count(t, db, `SELECT count(DISTINCT saga) FROM owners WHERE token > 1`)
	t.Logf("%d kills, %v, %d were taken over", killed, ends, taken)
	if killed == 0 || taken == 0 || ends[saga.Completed] == 0 || ends[saga.Compensated] == 0 {
		t.Error("too little has happened: the test proves nothing")
	}
}

func exec1(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// crashChild is the program: it never ends by itself.
func crashChild(dsn string) int {
	return crashtest.Program(func() error {
		db, err := sql.Open("postgres", dsn)
		if err == nil {
			_, err = newMachine(db)
		}
		if err != nil {
			return err
		}
		select {}
	})
}

// newMachine returns a coordinator. In a child it starts sagas, without end.
func newMachine(db *sql.DB) (*saga.Coordinator, error) {
	db.SetMaxOpenConns(8)
	l, err := sagasql.New(sagasql.Options{DB: db, Table: "crash"})
	if err != nil {
		return nil, err
	}
	def := effects(db)
	c, err := saga.New(saga.Options{
		Log: l, Definitions: []saga.Runnable{def}, MaxRunning: 8, Lease: 500 * time.Millisecond, Poll: 20 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil || os.Getenv(crashDSN) == "" {
		return c, err
	}
	go func() {
		for {
			if err := saga.Start(context.Background(), c, def, idempotency.NewKey(), 0); err != nil {
				fmt.Fprintln(os.Stderr, "child:", err)
				os.Exit(4)
			}
			<-time.After(time.Duration(rand.IntN(20)) * time.Millisecond)
		}
	}()
	return c, nil
}

// effects are rows: a key makes one, and its undoing forbids it.
func effects(db *sql.DB) *saga.Definition[int] {
	do := func(ctx context.Context, _ *int) error {
		d, _ := saga.From(ctx)
		if _, err := db.ExecContext(ctx, `INSERT INTO owners (saga, step, token) VALUES ($1, $2, $3)`, d.Saga, d.Step, int64(d.Token)); err != nil {
			return err
		}
		switch n := rand.IntN(20); {
		case n == 0 && d.Step != "c":
			return saga.NoEffect(errors.New("refused"))
		case n < 3:
			return errors.New("out of order")
		}
		_, err := db.ExecContext(ctx, `INSERT INTO effects VALUES ($1, $2, $3)
			ON CONFLICT (key) DO NOTHING`, d.Key, d.Saga, d.Step)
		return err
	}
	undo := func(ctx context.Context, _ *int) error {
		d, _ := saga.From(ctx)
		// A row that belongs to no saga keeps late requests out.
		_, err := db.ExecContext(ctx, `INSERT INTO effects VALUES ($1, '', $2) ON CONFLICT (key) DO UPDATE SET saga = ''`, d.DoKey, d.Step)
		return err
	}
	fast := saga.Retry{Base: time.Millisecond, Max: 10 * time.Millisecond, Attempts: 10}
	return &saga.Definition[int]{Name: "effects", Steps: []saga.Step[int]{
		{Name: "a", Do: do, Undo: undo, Retry: fast}, {Name: "b", Do: do, Undo: undo, Retry: fast},
		{Name: "c", Do: do, Retry: saga.Retry{Base: time.Millisecond, Max: 10 * time.Millisecond}},
	}}
}
