package redistest

import "syscall"

// attributes has the kernel end a server when the test binary ends, also when
// that is killed and cleans up nothing.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
