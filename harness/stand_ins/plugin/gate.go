package main

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Modes of answering.
const (
	modeOK    = "ok"    // answer
	modeHang  = "hang"  // accept and never answer
	modeError = "500"   // answer with status 500
	modeClose = "close" // close the connection (reset the stream) without an answer
)

// parseMode accepts one of the modes.
func parseMode(text string) (string, error) {
	switch text {
	case modeOK, modeHang, modeError, modeClose:
		return text, nil
	}
	return "", fmt.Errorf("mode %q is none of ok, hang, 500, close", text)
}

// gate lets requests pass, or treats them as its mode says.
type gate struct {
	mu      sync.Mutex
	mode    string
	changed chan struct{}
}

func newGate() *gate {
	return &gate{mode: modeOK, changed: make(chan struct{})}
}

// set changes the mode; requests that hang are then treated anew.
func (g *gate) set(mode string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mode = mode
	close(g.changed)
	g.changed = make(chan struct{})
}

// current returns the mode and a channel that closes when it changes.
func (g *gate) current() (string, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mode, g.changed
}

// pass reports whether the request is to be answered in the ordinary way.
func (g *gate) pass(w http.ResponseWriter, r *http.Request) bool {
	for {
		mode, changed := g.current()
		switch mode {
		case modeError:
			http.Error(w, "stand-in: ordered to fail", http.StatusInternalServerError)
			return false
		case modeClose:
			panic(http.ErrAbortHandler)
		case modeHang:
			clearDeadlines(w)
			select {
			case <-changed:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		default:
			return true
		}
	}
}

// clearDeadlines frees one request of the server's time limits.
func clearDeadlines(w http.ResponseWriter) {
	controller := http.NewResponseController(w)
	_ = controller.SetReadDeadline(time.Time{})
	_ = controller.SetWriteDeadline(time.Time{})
}
