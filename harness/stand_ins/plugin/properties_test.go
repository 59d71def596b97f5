package main

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// It listens on 127.0.0.1 and on no other address, of loopback either.
func TestLoopbackOnly(t *testing.T) {
	s := start(t)
	port := s.url[strings.LastIndex(s.url, ":")+1:]
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	others := []string{"127.0.0.2", "::1"}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			others = append(others, network.IP.String())
		}
	}
	for _, host := range others {
		if c, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), time.Second); err == nil {
			_ = c.Close()
			t.Errorf("%s is answered", host)
		}
	}
	if s.health() != 200 {
		t.Error("127.0.0.1 is not answered")
	}
}

// /healthz is there only where it is switched on with web serving; /metrics and
// reflection never are.
func TestPaths(t *testing.T) {
	const reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	const check, name = "/grpc.health.v1.Health/Check", "/finfocus.v1.CostSourceService/Name"
	on, off := start(t), start(t, "FINFOCUS_PLUGIN_HEALTH_ENDPOINT=false")
	for _, c := range []struct {
		s            *standIn
		method, path string
		want         int
	}{
		{on, "GET", "/healthz", 200}, {off, "GET", "/healthz", 404},
		{on, "POST", check, 200}, {off, "POST", check, 200},
		{on, "POST", name, 200}, {off, "POST", name, 200},
		{on, "GET", "/metrics", 404}, {off, "GET", "/metrics", 404},
		{on, "POST", reflection, 404}, {on, "GET", "/", 404},
	} {
		if got, text := c.s.call(c.method, c.path, "{}"); got != c.want {
			t.Errorf("%s: %d, want %d: %s", c.path, got, c.want, text)
		}
	}
}

// Standard output is the port and nothing more; every line of standard error
// is JSON with the keys of the real plugin, and some carry a region of their own.
func TestLogShapes(t *testing.T) {
	s := start(t, "PORT=nonsense")
	body := `{"resource":{"provider":"aws","resourceType":"eks","region":"us-east-1"}}`
	if code, text := s.call("POST", "/finfocus.v1.CostSourceService/GetProjectedCost", body); code != 200 {
		t.Fatal(code, text)
	}
	_ = s.command.Process.Signal(syscall.SIGTERM)
	if code := s.wait(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	messages := map[string]map[string]any{}
	for line := range strings.SplitSeq(strings.TrimSpace(s.log()), "\n") {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		when, _ := fields["time"].(string)
		if _, err := time.Parse(time.RFC3339, when); err != nil || fields["plugin_name"] != "aws-public" ||
			fields["plugin_version"] != version || !slices.Contains([]any{"info", "warn"}, fields["level"]) {
			t.Errorf("%v: %s", err, line)
		}
		messages[fields["message"].(string)] = fields
	}
	for message, want := range map[string][2]string{
		"plugin started": {"aws_region", "us-east-1"},
		"pricing field not found in embedded data":                                  {"region", "unknown"},
		"PORT environment variable is deprecated, use FINFOCUS_PLUGIN_PORT instead": {"env_var", "PORT"},
		"cost calculated": {"aws_region", "us-east-1"},
		"web serving enabled with multi-protocol support": {"level", "info"},
		"received shutdown signal":                        {"level", "info"},
	} {
		if messages[message][want[0]] != want[1] {
			t.Errorf("%q: %v", message, messages[message])
		}
	}
}
