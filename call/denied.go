package call

import "errors"

// ErrDenied is the cause of calls that were not sent since their callee would
// have refused them: the rules about who may call what say so.
var ErrDenied = errors.New("the rules of the service that is called do not allow it")
