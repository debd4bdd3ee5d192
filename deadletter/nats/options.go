package nats

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Options configure a [Sink]. Every zero value is the documented default.
type Options struct {
	// Bucket is the name of the key-value bucket, which is made if it is not
	// there. Letters, digits, dashes and underscores. Default "dead-letters".
	Bucket string
	// Replicas is how many servers keep each letter, when the bucket is made: 1
	// to 5. Default 1.
	Replicas int
	// MaxLetters is how many letters are taken. Default 100,000; every process
	// that has the sink open spends some 40 MB of memory on that many.
	MaxLetters int
	// MaxSize is about how many bytes the letters may take together. Default
	// 1 GiB. The bucket itself is not bounded: one that is full could not note
	// that a letter was delivered.
	MaxSize int64
	// Resync is how often the sink compares what it has heard with what the bucket
	// has. Default 1 minute.
	Resync time.Duration
	// Logger hears of entries in the bucket that are no letters. Default:
	// slog.Default().
	Logger *slog.Logger
}

// Validate names every field that is out of range.
func (o Options) Validate() error {
	var faults []error
	fault := func(bad bool, field string, value any, rule string) {
		if bad {
			faults = append(faults, fmt.Errorf("%s is %v: %s", field, value, rule))
		}
	}
	fault(o.Replicas < 0 || o.Replicas > 5, "Replicas", o.Replicas, "want 1 to 5")
	fault(o.Resync < 0, "Resync", o.Resync, "must not be negative")
	fault(o.MaxLetters < 0, "MaxLetters", o.MaxLetters, "must not be negative")
	fault(o.MaxSize < 0, "MaxSize", o.MaxSize, "must not be negative")
	return errors.Join(faults...)
}

func (o Options) withDefaults() Options {
	o.Bucket = cmp.Or(o.Bucket, "dead-letters")
	o.Replicas = cmp.Or(o.Replicas, 1)
	o.MaxLetters = cmp.Or(o.MaxLetters, 100_000)
	o.MaxSize = cmp.Or(o.MaxSize, 1<<30)
	o.Resync = cmp.Or(o.Resync, time.Minute)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}
