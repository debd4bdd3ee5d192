package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	for name, page := range pages() {
		text, err := page.json()
		if err == nil {
			err = os.WriteFile(filepath.Join("grafana", name+".json"), text, 0o600)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1) //nolint:forbidigo // it is a command
		}
	}
}

// pages are all dashboards by the names of their files.
func pages() map[string]page {
	return map[string]page{"overview": overview(), "service": service(), "dependency": dependency(), "security": security()}
}
