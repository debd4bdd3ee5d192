package sql

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/innermesh/innermesh/saga"
)

// Options connect a [Log]. Only DB is required.
type Options struct {
	// DB is the database, opened with a driver for PostgreSQL. The log does not
	// close it. Required.
	DB *sql.DB
	// Table is the name of the table, with or without that of a schema: lower-case
	// letters, digits and _. Services that share a database must differ in it.
	// Default "sagas".
	Table string
}

// Validate names every field that is wrong.
func (o Options) Validate() error {
	var faults []error
	if o.DB == nil {
		faults = append(faults, errors.New("DB is nil: it is required"))
	}
	if o.Table != "" && !validTable(o.Table) {
		faults = append(faults, fmt.Errorf(
			"%s is %.80q: want a name of lower-case letters, digits and _, with or without a schema's", "Table", o.Table))
	}
	return errors.Join(faults...)
}

func validTable(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if p == "" || len(p) > 50 || p[0] >= '0' && p[0] <= '9' || strings.ContainsFunc(p, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
		}) {
			return false
		}
	}
	return len(parts) <= 2
}

// Log is a [saga.Log] in a table.
type Log struct {
	db    *sql.DB
	table string
}

// New returns a log. It does not ask the database anything; see [Log.Setup].
func New(o Options) (*Log, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("saga sql: %w", err)
	}
	return &Log{db: o.DB, table: cmp.Or(o.Table, "sagas")}, nil
}

// Schema returns the statements that make the table, for who makes tables by
// other means than [Log.Setup]. IDs are compared bytewise.
func (l *Log) Schema() string {
	index := strings.ReplaceAll(l.table, ".", "_")
	return `CREATE TABLE IF NOT EXISTS ` + l.table + ` (
	id           text COLLATE "C" PRIMARY KEY,
	name         text NOT NULL,
	type         text NOT NULL,
	status       text NOT NULL,
	not_before   timestamptz NOT NULL,
	owner        text NOT NULL,
	leased_until timestamptz,
	token        bigint NOT NULL,
	ended        timestamptz,
	record       bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS ` + index + `_due ON ` + l.table + ` (not_before) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS ` + index + `_ended ON ` + l.table + ` (ended) WHERE ended IS NOT NULL;`
}

// Setup makes the table, if it is not there. Any number of processes may do so at
// the same time.
func (l *Log) Setup(ctx context.Context) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return l.told("set up", err)
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	// Two that create the same table collide in the catalogue, IF NOT EXISTS or not.
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(hashtext($1))`, "saga "+l.table); err != nil {
		return l.told("set up", err)
	}
	if _, err := tx.ExecContext(ctx, l.Schema()); err != nil {
		return l.told("set up", err)
	}
	return l.told("set up", tx.Commit())
}

// Create implements [saga.Log].
func (l *Log) Create(ctx context.Context, r saga.Record, lease time.Duration) error {
	if err := saga.Fit(ctx, &r); err != nil {
		return err
	}
	r.Token = 1
	row, err := newRow(&r, lease)
	if err != nil {
		return err
	}
	n, err := l.exec(ctx, `INSERT INTO `+l.table+` (id, name, type, status, not_before, owner, leased_until, ended, record, token)
		VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7 * interval '1 microsecond', $8, $9, 1) ON CONFLICT (id) DO NOTHING`, row...)
	if err == nil && n == 0 {
		err = saga.ErrExists
	}
	return l.told("create "+r.ID, err)
}

// Save implements [saga.Log].
func (l *Log) Save(ctx context.Context, r saga.Record, lease time.Duration) error {
	if err := saga.Fit(ctx, &r); err != nil {
		return err
	}
	row, err := newRow(&r, lease)
	if err != nil {
		return err
	}
	n, err := l.exec(ctx, `UPDATE `+l.table+` SET name = $2, type = $3, status = $4, not_before = $5, owner = $6,
		leased_until = clock_timestamp() + $7 * interval '1 microsecond', ended = $8, record = $9
		WHERE id = $1 AND token = $10`, append(row, int64(r.Token))...)
	if err == nil && n == 0 {
		var known bool
		err = l.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT FROM `+l.table+` WHERE id = $1)`, r.ID).Scan(&known)
		switch {
		case err != nil:
		case known:
			err = saga.ErrFenced
		default:
			err = saga.ErrNotFound
		}
	}
	return l.told("save "+r.ID, err)
}

// newRow returns the nine columns that Create and Save write, the lease in
// microseconds; NULL for none.
func newRow(r *saga.Record, lease time.Duration) ([]any, error) {
	r.Lease(time.Now(), lease)
	var micros, ended any
	if !r.LeasedUntil.IsZero() {
		micros = lease.Microseconds()
	}
	if r.Status.Ended() {
		ended = r.Ended
	}
	data, err := saga.Encode(r)
	if err != nil {
		return nil, err
	}
	return []any{r.ID, r.Name, r.Type.String(), string(r.Status), r.NotBefore, r.Owner, micros, ended, data}, nil
}

// Claim implements [saga.Log]. Claimants do not wait for each other.
func (l *Log) Claim(ctx context.Context, c saga.Claim) ([]saga.Record, error) {
	if err := cmp.Or(ctx.Err(), c.Prepare()); err != nil {
		return nil, err
	}
	var a arguments
	where := `ended IS NULL AND (leased_until IS NULL OR leased_until <= clock_timestamp()) AND status IN (` + list(&a, c.Statuses) + `)`
	if len(c.Types) > 0 {
		where += ` AND type IN (` + list(&a, names(c.Types)) + `)`
	}
	if c.ID != "" {
		where += ` AND id = ` + a.add(c.ID)
	} else {
		where += ` AND not_before <= clock_timestamp()`
	}
	records, err := l.query(ctx, `UPDATE `+l.table+` SET token = token + 1, owner = `+a.add(c.Owner)+`,
		leased_until = clock_timestamp() + `+a.add(c.Lease.Microseconds())+` * interval '1 microsecond'
		WHERE id IN (SELECT id FROM `+l.table+` WHERE `+where+` ORDER BY not_before, id LIMIT `+a.add(c.Limit)+` FOR UPDATE SKIP LOCKED)
		RETURNING `+columns, a...)
	if err != nil {
		return nil, l.told("claim", err)
	}
	return sorted(records), nil
}

// List implements [saga.Log].
func (l *Log) List(ctx context.Context, q saga.Query) (p saga.Page, err error) {
	if err := ctx.Err(); err != nil {
		return p, err
	}
	var a arguments
	where := `id > ` + a.add(q.After)
	if len(q.IDs) > 0 {
		where += ` AND id IN (` + list(&a, q.IDs) + `)`
	}
	if len(q.Names) > 0 {
		where += ` AND name IN (` + list(&a, q.Names) + `)`
	}
	if len(q.Statuses) > 0 {
		where += ` AND status IN (` + list(&a, q.Statuses) + `)`
	}
	if len(q.Except) > 0 {
		where += ` AND type NOT IN (` + list(&a, names(q.Except)) + `)`
	}
	p.Sagas, err = l.query(ctx, `SELECT `+columns+` FROM `+l.table+` WHERE `+where+` ORDER BY id LIMIT `+a.add(q.Most()+1), a...)
	if err != nil {
		return saga.Page{}, l.told("list", err)
	}
	if len(p.Sagas) > q.Most() {
		p.Sagas = p.Sagas[:q.Most()]
		p.Next = p.Sagas[len(p.Sagas)-1].ID
	}
	return p, nil
}

// Expire implements [saga.Log].
func (l *Log) Expire(ctx context.Context, before time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.exec(ctx, `DELETE FROM `+l.table+` WHERE id IN
		(SELECT id FROM `+l.table+` WHERE ended < $1 ORDER BY ended LIMIT $2 FOR UPDATE SKIP LOCKED)`, before, limit)
	return n, l.told("expire", err)
}

// told says what was asked of which table.
func (l *Log) told(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("table %s of sagas: %s: %w", l.table, what, err)
}
