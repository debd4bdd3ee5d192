// Package sim shows, in its tests, what the mechanisms of the lower floors do
// together: clients, instances and their troubles in a world whose time is a
// number and whose chance is a seed. Nothing sleeps, and a seed always gives the
// same figures. `make sim` ends with a table of claim, goal and figure.
package sim
