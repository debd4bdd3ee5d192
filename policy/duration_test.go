package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]Duration{
		"250ms":  Duration(250 * time.Millisecond),
		"1m30s":  Duration(90 * time.Second),
		"off":    Off,
		"-1s":    Off,
		"-2h30m": Off,
		"0s":     0,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "Off", "1 s", "2d", "9999999999h"} {
		if got, err := ParseDuration(text); err == nil || got != 0 {
			t.Errorf("ParseDuration(%q) = %v, %v, want an error", text, got, err)
		}
	}
}

func TestDurationJSON(t *testing.T) {
	for d, want := range map[Duration]string{
		seconds(2):        `"2s"`,
		milliseconds(250): `"250ms"`,
		Off:               `"off"`,
		-seconds(3):       `"off"`,
	} {
		got, err := json.Marshal(d)
		if err != nil || string(got) != want {
			t.Errorf("Marshal(%d) = %s, %v, want %s", int64(d), got, err, want)
		}
		var back Duration
		if err := json.Unmarshal(got, &back); err != nil || back != max(d, Off) {
			t.Errorf("Unmarshal(%s) = %v, %v, want %v", got, back, err, d)
		}
	}
}

func TestDurationJSONRefused(t *testing.T) {
	for _, doc := range []string{`5`, `1e9`, `null`, `true`, `{}`, `["1s"]`} {
		var d Duration
		err := json.Unmarshal([]byte(doc), &d)
		if err == nil || !strings.Contains(err.Error(), "a duration needs its unit") {
			t.Errorf("Unmarshal(%s) = %v, %v, want an error that speaks of the unit", doc, d, err)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"250ms", "off", "-1s", "0", "1h1m1s1ms1us1ns", "5", "9223372036854775807ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q is %v, read back as %v, %v", s, d, back, err)
		}
	})
}
