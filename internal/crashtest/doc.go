// Package crashtest kills programs at random points, for tests that look what was
// lost. The program is the test binary itself: TestMain becomes it when it finds
// the environment that [Start] was given, and calls [Program].
package crashtest
