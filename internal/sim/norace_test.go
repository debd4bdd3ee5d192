//go:build !race

package sim

// worlds is how many each claim is tried in if nobody says.
const worlds = 20
