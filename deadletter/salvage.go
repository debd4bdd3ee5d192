package deadletter

import "bytes"

// Salvage finds the letters in what is left of a file, wherever they stand and
// whatever is broken around them. Of a letter that is there more than once the
// latest is returned. It can not know what was deleted: among the letters may be
// some that were delivered, whose idempotency keys tell their receiver.
func Salvage(file []byte) []Letter {
	found := map[string]Letter{}
	var order []string
	for at := 0; ; {
		i := bytes.Index(file[at:], []byte(magic))
		if i < 0 {
			break
		}
		at += i
		n, err := measure(file[at:])
		if err != nil || n > len(file)-at {
			at++
			continue
		}
		l, err := decode(file[at : at+n])
		if err != nil {
			at++
			continue
		}
		have, seen := found[l.ID]
		if !seen {
			order = append(order, l.ID)
		}
		if !seen || have.Revision < l.Revision {
			found[l.ID] = l
		}
		at += n
	}
	letters := make([]Letter, 0, len(order))
	for _, id := range order {
		letters = append(letters, found[id])
	}
	return letters
}
