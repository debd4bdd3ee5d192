package call

import "errors"

// ErrInjected is the cause of calls that failed on purpose: their service's
// policy makes trouble (see inject).
var ErrInjected = errors.New("injected by the service's policy")

// InjectedHeader is the header of an answer that was touched by trouble made on
// purpose; it names the injection. gRPC's answers carry it as metadata.
const InjectedHeader = "innermesh-injected"
