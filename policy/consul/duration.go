package consul

import (
	"encoding/json"
	"fmt"
	"time"
)

// duration reads both forms that Consul writes, often in one answer: text with a
// unit, and a whole number of nanoseconds.
type duration time.Duration

// UnmarshalJSON reads either form. An empty text is zero.
func (d *duration) UnmarshalJSON(data []byte) error {
	var tree any
	if err := json.Unmarshal(data, &tree); err != nil {
		return fmt.Errorf("read a duration: %w", err)
	}
	if _, number := tree.(float64); number {
		tree = json.Number(data)
	}
	var err error
	*d, err = readDuration(tree)
	return err
}

func readDuration(tree any) (duration, error) {
	switch v := tree.(type) {
	case nil:
		return 0, nil
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return 0, fmt.Errorf("%s is not a duration: want text with a unit, or whole nanoseconds", quote(v.String()))
		}
		return duration(n), nil
	case string:
		if v == "" {
			return 0, nil
		}
		d, err := time.ParseDuration(v)
		if err != nil {
			return 0, fmt.Errorf("%s is not a duration: want text with a unit, or whole nanoseconds", quote(v))
		}
		return duration(d), nil
	default:
		return 0, fmt.Errorf("%T is not a duration: want text with a unit, or whole nanoseconds", tree)
	}
}
