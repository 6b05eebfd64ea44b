package main

import (
	"errors"
	"net"
	"os"
	"strconv"
)

// Ports are below those that outgoing connections get: one of these would take a port
// between its choice and its use.
const firstPort, endPort = 26000, 32000

// ports gives out ports. Where it begins depends on the process, so that two that run
// at once do not choose the same: Caddy would share it with the other's.
type ports struct{ given int }

// freePort returns an address on loopback where nobody listens.
func (p *ports) freePort() (address string, err error) {
	const perProcess = 40
	for p.given < endPort-firstPort {
		port := firstPort + (os.Getpid()*perProcess+p.given)%(endPort-firstPort)
		p.given++
		address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if listener, err := net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", errors.New("no free port")
}
