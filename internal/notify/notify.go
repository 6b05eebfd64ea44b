// Package notify brings one-time passwords to their users: by mail, or by a
// service of the operator's.
package notify

import "errors"

// errMaybeSent tells who reads the log that a notification may arrive, although
// its code will not be good for anything.
var errMaybeSent = errors.New("it may have been sent all the same")
