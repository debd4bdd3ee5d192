//go:build race

package sim

// worlds is how many each claim is tried in if nobody says: fewer under the race
// detector, for it takes six times as long and a world has one goroutine.
const worlds = 6
