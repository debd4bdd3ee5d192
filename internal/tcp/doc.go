// Package tcp has what the connections of all protocols ask of the operating
// system.
package tcp
