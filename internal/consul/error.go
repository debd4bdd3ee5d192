package consul

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// What can keep Consul from answering, found with [errors.Is].
var (
	// ErrUnreachable: the agent could not be asked, or did not finish its answer. A
	// [StatusError] is one too if the agent can not answer now: it has no servers,
	// no leader, or too many connections.
	ErrUnreachable = errors.New("the Consul agent cannot be reached: check its address and that it runs")
	// ErrPermission: the agent knows neither the token nor a right for it.
	ErrPermission = errors.New("the Consul token has not the permission")
	// ErrMalformed: the answer is not what Consul's interface promises.
	ErrMalformed = errors.New("the answer is not Consul's: check the address and what stands between")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("the Consul client is closed")
)

// StatusError is an answer that is neither 200 nor "there is none".
type StatusError struct {
	// Code is the HTTP status.
	Code int
	// Message is what Consul said, shortened.
	Message string
}

// Error says the status and Consul's own words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("consul answered %d %s: %s", e.Code, http.StatusText(e.Code), e.Message)
}

// Is makes a 401 or 403 an [ErrPermission], and an [ErrUnreachable] of what says
// nothing about the question.
func (e *StatusError) Is(target error) bool {
	switch target {
	case ErrPermission:
		return e.Code == http.StatusForbidden || e.Code == http.StatusUnauthorized
	case ErrUnreachable:
		return e.Code >= http.StatusInternalServerError || e.Code == http.StatusTooManyRequests
	default:
		return false
	}
}

// Silent says whether an error leaves open what Consul would answer: a refusal is
// an answer, an outage or somebody else's page is none.
func Silent(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrMalformed)
}

// kind sorts errors into those worth telling apart: a change of kind is news, a
// repetition is not.
func kind(err error) string {
	status, isStatus := errors.AsType[*StatusError](err)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrPermission):
		return "permission"
	case isStatus:
		return strconv.Itoa(status.Code)
	case errors.Is(err, ErrMalformed):
		return "malformed"
	default:
		return "unreachable"
	}
}
