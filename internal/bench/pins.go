package main

import (
	"io"
	"net"
	"net/http"
	"time"
)

// servePINs stands for the operator's service that checks PINs, in this process: it
// takes part in enrolment alone, which is not measured. It finds every PIN right.
func (l *lab) servePINs() (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})}
	go func() { _ = server.Serve(listener) }() // it ends when it is closed
	l.onClose(server.Close)
	return "http://" + listener.Addr().String(), nil
}
