package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of times in /proc/PID/stat. It is the same on every Linux that Go
// runs on (USER_HZ is 100).
const tick = 10 * time.Millisecond

// CPU returns the processor time that the process has used so far, in user mode and
// in the kernel, all threads together.
func (p *Process) CPU() (time.Duration, error) {
	stat, err := p.read("stat")
	if err != nil {
		return 0, err
	}
	return parseCPU(stat)
}

// parseCPU reads utime and stime (proc_pid_stat(5)), fields 14 and 15. The second
// field is the program's name in parentheses, which may contain anything.
func parseCPU(stat []byte) (time.Duration, error) {
	const utime, stime = 14 - 3, 15 - 3 // counted from the field after the name
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= stime {
		return 0, fmt.Errorf("stat has %d fields", len(fields))
	}
	var sum time.Duration
	for _, field := range []int{utime, stime} {
		ticks, err := strconv.ParseInt(string(fields[field]), 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ticks) * tick
	}
	return sum, nil
}

// PeakRSS returns the most memory that the process has held at once, in bytes.
func (p *Process) PeakRSS() (int64, error) {
	return p.status("VmHWM")
}

// FileRSS returns how much of the memory that the process holds now is mapped from
// files, in bytes: its program above all. The kernel takes that back where it is short
// of memory, and processes share it.
func (p *Process) FileRSS() (int64, error) {
	return p.status("RssFile")
}

func (p *Process) status(field string) (int64, error) {
	status, err := p.read("status")
	if err != nil {
		return 0, err
	}
	return parseStatus(status, field)
}

// parseStatus reads a field that is an amount of memory (proc_pid_status(5)).
func parseStatus(status []byte, field string) (int64, error) {
	for line := range bytes.Lines(status) {
		if value, found := bytes.CutPrefix(line, []byte(field+":")); found {
			kib, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("status has no %s", field)
}

func (p *Process) read(name string) ([]byte, error) {
	if err := p.Err(); err != nil {
		return nil, err
	}
	return os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.cmd.Process.Pid, name))
}
