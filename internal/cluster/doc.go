// Package cluster keeps one service alive inside the process: its members, the
// view a pick reads, the breakers that guard them and the settings in force.
// Updates build a new immutable view and swap it in; a call loads it once.
package cluster
