package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"finfocus-plugin-standin/pricelist"
)

// withLists makes an executable of the test program with lists of about size
// bytes; spoil, if given, changes its bytes.
func withLists(t *testing.T, size int64, spoil func([]byte) []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), pluginName+"-us-east-1")
	if err := pricelist.Attach(path, os.Args[0], "us-east-1", size); err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		data, _ := os.ReadFile(path)
		if err := os.WriteFile(path, spoil(data), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// breakList makes a service's list something other than JSON.
func breakList(service string) func([]byte) []byte {
	return func(data []byte) []byte {
		head := []byte(`,"offerCode":"` + service + `"`)
		return bytes.Replace(data, head, bytes.Replace(head, []byte(":"), []byte("!"), 1), 1)
	}
}

// The lists are parsed before the port is announced, and their prices are kept.
func TestListsAreParsed(t *testing.T) {
	s := startProgram(t, withLists(t, 1_000_000, nil), nil)
	_, text := s.call("GET", "/standin", "")
	var about struct{ Prices map[string]int }
	if err := json.Unmarshal([]byte(text), &about); err != nil || len(about.Prices) != 10 || about.Prices["AmazonEC2"] < 20 {
		t.Errorf("%v: %s", err, text)
	}
}

// A program without lists starts at once and has no prices.
func TestNoLists(t *testing.T) {
	s := start(t)
	if _, text := s.call("GET", "/standin", ""); !strings.Contains(text, `"prices":{}`) {
		t.Error(text)
	}
}

// A broken list of EC2 fails the start: exit code 1, no port, an error line in JSON.
func TestBrokenEssentialList(t *testing.T) {
	for name, spoil := range map[string]func([]byte) []byte{
		"no JSON": breakList("AmazonEC2"),
		"no prices": func(data []byte) []byte {
			return bytes.Replace(data, []byte(`"products":{"`), []byte(`"nothings":{"`), 1)
		},
	} {
		s := startProgram(t, withLists(t, 100_000, spoil), nil)
		if code := s.wait(t); code != exitFailure || s.url != "" {
			t.Errorf("%s: exit %d, url %q", name, code, s.url)
		}
		lines := strings.Split(strings.TrimSpace(s.log()), "\n")
		var last struct{ Level, Message, Error string }
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Level != "error" ||
			last.Message != "failed to initialize pricing client" || !strings.HasPrefix(last.Error, "AmazonEC2: ") {
			t.Errorf("%s: %v, last line %s", name, err, lines[len(lines)-1])
		}
	}
}

// A broken list of another service is an error line; the plugin starts without it.
func TestBrokenOtherList(t *testing.T) {
	s := startProgram(t, withLists(t, 100_000, breakList("AmazonEKS")), nil)
	if s.health() != 200 || !strings.Contains(s.log(), `"service":"AmazonEKS"`) {
		t.Errorf("log: %s", s.log())
	}
}

// A signal while the lists are parsed ends the process at once, by the signal.
func TestSignalDuringParse(t *testing.T) {
	s, _ := launch(t, withLists(t, 40_000_000, nil), nil)
	go func() { s.ended <- s.command.Wait() }()
	eventually(t, "the start", func() bool { return strings.Contains(s.log(), "stand-in starting") })
	_ = s.command.Process.Signal(syscall.SIGTERM)
	if code := s.wait(t); code != -int(syscall.SIGTERM) {
		t.Errorf("ended with %d, log %s", code, s.log())
	}
}
