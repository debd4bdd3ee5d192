// Package upstream keeps the services that this process calls: for each one the
// plan that is in force, which says where its calls go and on which terms, and
// the clusters that the plan's targets are.
//
// A plan is immutable and swapped in whole: a call loads it once and ends under
// it. What a new plan leaves as it was keeps its state.
package upstream
