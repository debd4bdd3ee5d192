package sql

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/innermesh/innermesh/saga"
)

// columns are what query reads. Token, owner and lease are the columns', and not
// what the record says.
const columns = "record, token, owner, leased_until"

// query returns the records that a statement returns.
func (l *Log) query(ctx context.Context, statement string, args ...any) (records []saga.Record, err error) {
	rows, err := l.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, plain(ctx, err)
	}
	defer rows.Close() // Err tells
	for rows.Next() {
		var (
			data   []byte
			token  int64
			owner  string
			leased sql.NullTime
		)
		if err := rows.Scan(&data, &token, &owner, &leased); err != nil {
			return nil, err
		}
		r, err := saga.Decode(data)
		if err != nil {
			return nil, err
		}
		r.Token, r.Owner, r.LeasedUntil = uint64(token), owner, leased.Time
		records = append(records, r)
	}
	return records, plain(ctx, rows.Err())
}

// exec returns how many rows a statement has changed.
func (l *Log) exec(ctx context.Context, statement string, args ...any) (int, error) {
	res, err := l.db.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, plain(ctx, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// plain makes the context's end what it is, whatever a driver says about it.
func plain(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// arguments are those of a statement.
type arguments []any

// add adds an argument and returns its place in the statement.
func (a *arguments) add(v any) string {
	*a = append(*a, v)
	return fmt.Sprintf("$%d", len(*a))
}

// list adds arguments and returns their places.
func list[T ~string](a *arguments, all []T) string {
	places := make([]string, len(all))
	for i, v := range all {
		places[i] = a.add(string(v))
	}
	return strings.Join(places, ", ")
}

func names(types []saga.Type) (all []string) {
	for _, t := range types {
		all = append(all, t.String())
	}
	return all
}

// sorted puts those first that have been due the longest: RETURNING has no order.
func sorted(all []saga.Record) []saga.Record {
	slices.SortFunc(all, func(a, b saga.Record) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), cmp.Compare(a.ID, b.ID))
	})
	return all
}
