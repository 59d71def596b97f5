package main

import (
	"strings"
	"testing"
)

// The order follows the version that the program is compiled with.
func TestPortOrderOf(t *testing.T) {
	for text, want := range map[string]portOrder{
		"0.1.0":         portVariable,
		"v0.1.0":        portVariable,
		"0.1.5":         portVariable,
		"0.1.6":         portBoth,
		"0.1.6-rc1":     portBoth,
		"0.1.10":        portBoth,
		"0.2.0":         portBoth,
		"1.0.0":         portBoth,
		"0.0.0-standin": portBoth,
		"0.0.0-local":   portBoth,
		"main":          portBoth,
	} {
		if got := portOrderOf(text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// Each order reads what it knows, first to last, and nothing else.
func TestChoosePort(t *testing.T) {
	flag := "--port 18001"
	cases := []struct {
		order               portOrder
		arguments, own, old string
		want                int
		deprecated          bool
	}{
		{portBoth, flag, "18002", "18003", 18001, false},
		{portBoth, "-port=18001", "18002", "18003", 18001, false},
		{portBoth, "--port 0", "18002", "18003", 18002, false},
		{portBoth, "", "18002", "18003", 18002, false},
		{portBoth, "", "", "18003", 18003, true},
		{portBoth, "", "nonsense", "18003", 18003, true},
		{portBoth, "", "70000", "", 0, false},
		{portBoth, "", "", "70000", 0, true},
		{portBoth, "port 18001", "", "", 0, false},
		{portBoth, "--region x --port=18001", "", "", 18001, false},
		{portBoth, "", "", "", 0, false},
		{portVariable, flag, "18002", "18003", 18002, false},
		{portVariable, flag, "", "18003", 18003, true},
		{portVariable, flag, "", "", 0, false},
		{portVariable, "--port nonsense --what=ever", "18002", "", 18002, false},
		{portFlag, flag, "18002", "18003", 18001, false},
		{portFlag, "", "18002", "18003", 0, false},
	}
	for _, c := range cases {
		env := environ(map[string]string{"FINFOCUS_PLUGIN_PORT": c.own, "PORT": c.old})
		port, deprecated, err := choosePort(c.order, strings.Fields(c.arguments), env)
		if port != c.want || deprecated != c.deprecated || err != nil {
			t.Errorf("%+v: got %d, %v, %v", c, port, deprecated, err)
		}
	}
	for _, text := range []string{"--port nonsense", "--port", "--what=ever"} {
		if _, _, err := choosePort(portBoth, strings.Fields(text), environ(nil)); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

// A started process says which port it took, on 127.0.0.1.
func TestPortOfProcess(t *testing.T) {
	for _, c := range []struct{ order, want string }{
		{"variable", "18942"}, {"flag", "18941"}, {"both", "18941"}, {"eu-west-1=flag,us-east-1=variable", "18942"},
	} {
		s := startWith(t, []string{"--port", "18941"}, "STANDIN_PORT_ORDER="+c.order,
			"FINFOCUS_PLUGIN_PORT=18942")
		if s.url != "http://127.0.0.1:"+c.want || s.health() != 200 {
			t.Errorf("%s: %s, log %s", c.order, s.url, s.log())
		}
		_ = s.command.Process.Kill()
		s.wait(t)
	}
}

// An unknown flag ends a version that knows --port, and no other.
func TestUnknownFlag(t *testing.T) {
	s := startWith(t, []string{"--unknown"}, "STANDIN_PORT_ORDER=both")
	if code := s.wait(t); code != exitFlags || !strings.Contains(s.log(), "not defined: -unknown") {
		t.Errorf("exit %d, log %s", code, s.log())
	}
	if s := startWith(t, []string{"--unknown"}, "STANDIN_PORT_ORDER=variable"); s.health() != 200 {
		t.Errorf("ended by an unknown flag: %s", s.log())
	}
}

// PORT is read last and warned about.
func TestDeprecatedPort(t *testing.T) {
	s := start(t, "PORT=18943")
	if s.url != "http://127.0.0.1:18943" || !strings.Contains(s.log(), "PORT environment variable is deprecated") {
		t.Errorf("%s, log %s", s.url, s.log())
	}
}
