package idempotency_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/innermesh/innermesh/idempotency"
)

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key := idempotency.NewKey()
		if err := idempotency.CheckKey(key); err != nil {
			t.Fatal(err)
		}
		if bare, err := idempotency.ParseKey(key); err != nil || bare != key {
			t.Fatalf("%q bare is %q, %v", key, bare, err)
		}
		if len(key) < 26 { // of 32 letters each
			t.Fatalf("%q has less than 128 bits", key)
		}
		seen[key] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d keys of 1000 are different", len(seen))
	}
}

func TestDerive(t *testing.T) {
	key := idempotency.NewKey()
	charge := idempotency.Derive(key, "charge")
	if err := idempotency.CheckKey(charge); err != nil {
		t.Fatal(err)
	}
	if charge != idempotency.Derive(key, "charge") {
		t.Error("the same step has two keys")
	}
	if charge == idempotency.Derive(key, "ship") || charge == idempotency.Derive(idempotency.NewKey(), "charge") {
		t.Error("different steps have one key")
	}
	if idempotency.Derive("ab", "c") == idempotency.Derive("a", "bc") {
		t.Error("key and step run into each other")
	}
}

func TestParseKey(t *testing.T) {
	long := strings.Repeat("k", idempotency.MaxKey)
	for field, want := range map[string]string{
		`"8e03978e-40d5-43dd-bc93-6894a57f9324"`: "8e03978e-40d5-43dd-bc93-6894a57f9324",
		`8e03978e-40d5-43dd-bc93-6894a57f9324`:   "8e03978e-40d5-43dd-bc93-6894a57f9324",
		"\t \"spaced\" ":                         "spaced",
		`"with space, comma; and more"`:          "with space, comma; and more",
		`"a \"quote\" and a \\"`:                 `a "quote" and a \`,
		`a+b/c==:.~_-!`:                          `a+b/c==:.~_-!`,
		long:                                     long,
		`"` + long + `"`:                         long,
	} {
		if got, err := idempotency.ParseKey(field); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", field, got, err, want)
		}
	}
	for field, want := range map[string]string{
		"":                "empty",
		"  ":              "empty",
		`""`:              "empty",
		long + "k":        "has 256 bytes",
		`"` + long + `k"`: "has 256 bytes",
		"a b":             "in quotes",
		"a,b":             "in quotes",
		`one", "two`:      "in quotes",
		"k;v=1":           "in quotes",
		`a\b`:             "in quotes",
		`"open`:           "closing quote is missing",
		`"open\"`:         "closing quote is missing",
		`"`:               "closing quote is missing",
		`"bad \escape"`:   "follow a backslash",
		`"end\`:           "follow a backslash",
		`"a";v=1`:         "follows the closing quote",
		`"a", "b"`:        "follows the closing quote",
		"tab\"\t":         "in quotes",
		"\x7f":            "not printable",
		"schlüssel":       "not printable",
		"\"a\x00\"":       "not printable",
	} {
		got, err := idempotency.ParseKey(field)
		if !errors.Is(err, idempotency.ErrKey) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v, want an ErrKey with %q", field, got, err, want)
		}
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{`"a"`, `a`, `"\"\\"`, `"`, `a,b`, `"a";q=1`, "\x00", `""`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		key, err := idempotency.ParseKey(field)
		if err != nil {
			if !errors.Is(err, idempotency.ErrKey) {
				t.Fatalf("%q: %v is no ErrKey", field, err)
			}
			return
		}
		if err := idempotency.CheckKey(key); err != nil {
			t.Fatalf("%q was taken: %v", field, err)
		}
		if again, err := idempotency.ParseKey(idempotency.FormatKey(key)); err != nil || again != key {
			t.Fatalf("%q comes back as %q, %v", key, again, err)
		}
	})
}
