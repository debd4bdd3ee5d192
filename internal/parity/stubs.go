package parity

func routerActions() []Scenario { return nil }
func splitters() []Scenario     { return nil }
func resolvers() []Scenario     { return nil }
func failovers() []Scenario     { return nil }
func balancers() []Scenario     { return nil }
func defaults() []Scenario      { return nil }
func global() []Scenario        { return nil }
func combined() []Scenario      { return nil }
func refused() []Scenario       { return nil }
