package main

import (
	"testing"
	"time"
)

// environ makes a getenv of a map.
func environ(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestValueFor(t *testing.T) {
	cases := []struct{ region, text, want string }{
		{"us-east-1", "", ""},
		{"us-east-1", "2s", "2s"},
		{"us-east-1", "aGk=", "aGk="},
		{"us-east-1", "us-east-1=2s,eu-west-1=500ms", "2s"},
		{"eu-west-1", "us-east-1=2s,eu-west-1=500ms", "500ms"},
		{"ca-central-1", "us-east-1=2s,eu-west-1=500ms", ""},
		{"ca-central-1", "*=1s,us-east-1=2s", "1s"},
		{"us-east-1", "*=1s,us-east-1=2s", "2s"},
		{"us-east-1", "*=1s,us-east-1=", ""},
		{"us-gov-west-1", "us-gov-west-1=aGk=", "aGk="},
	}
	for _, c := range cases {
		got, err := valueFor(c.region, c.text)
		if err != nil || got != c.want {
			t.Errorf("valueFor(%q, %q) = %q, %v; want %q", c.region, c.text, got, err, c.want)
		}
	}
	if _, err := valueFor("us-east-1", "us-east-1=2s,3s"); err == nil {
		t.Error("a mixed list was accepted")
	}
}

func TestLoadPlan(t *testing.T) {
	p, err := loadPlan("us-east-1", environ(map[string]string{
		"STANDIN_PORT_ORDER":     "us-east-1=flag,*=both",
		"STANDIN_START_DELAY":    "us-east-1=2s",
		"STANDIN_CRASH_AFTER":    "eu-west-1=1s",
		"STANDIN_CRASH_CODE":     "SIGKILL",
		"STANDIN_CRASH_AT_START": "us-east-1=3",
		"STANDIN_REQUEST_MODE":   "hang@5s",
		"STANDIN_MEMORY":         "64@1s",
		"STANDIN_GRANDCHILD":     "60s+setsid",
	}))
	if err != nil {
		t.Fatal(err)
	}
	if p.portOrder != portFlag {
		t.Errorf("port order: %v", p.portOrder)
	}
	if p.startDelay != 2*time.Second || p.crashAfter != 0 || p.crashAtStart.code != 3 {
		t.Errorf("start: %+v", p)
	}
	if p.crashCode.signal != 9 || p.requests != (timedMode{modeHang, 5 * time.Second}) {
		t.Errorf("crash or mode: %+v", p)
	}
	if p.memory != (timedMemory{64, time.Second}) || *p.grandchild != (grandchild{time.Minute, true, false}) {
		t.Errorf("memory or grandchild: %+v", p)
	}
}

func TestLoadPlanRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"STANDIN_PORT_ORDER":      "neither",
		"STANDIN_START_DELAY":     "2",
		"STANDIN_START_CPU":       "-1s",
		"STANDIN_CRASH_CODE":      "256",
		"STANDIN_CRASH_AT_START":  "SIGNONE",
		"STANDIN_HEALTH_MODE":     "broken",
		"STANDIN_REQUEST_MODE":    "hang@soon",
		"STANDIN_LOG_FLOOD_RATE":  "-1",
		"STANDIN_LOG_FLOOD_LINES": "many",
		"STANDIN_LOG_RAW":         "!",
		"STANDIN_LOG_RAW_STREAM":  "log",
		"STANDIN_GRANDCHILD":      "60s+other",
		"STANDIN_IGNORE_SIGTERM":  "perhaps",
	} {
		if _, err := loadPlan("us-east-1", environ(map[string]string{name: text})); err == nil {
			t.Errorf("%s=%s was accepted", name, text)
		}
	}
}

func TestRegionOf(t *testing.T) {
	cases := []struct{ executable, flag, want string }{
		{"dir/finfocus-plugin-aws-public-us-east-1", "", "us-east-1"},
		{"dir/finfocus-plugin-aws-public-us-gov-west-1", "eu-west-1", "us-gov-west-1"},
		{"dir/finfocus-plugin-aws-public", "eu-west-1", "eu-west-1"},
		{"dir/other", "", "unknown"},
	}
	for _, c := range cases {
		if got := regionOf(c.executable, c.flag); got != c.want {
			t.Errorf("regionOf(%q, %q) = %q", c.executable, c.flag, got)
		}
	}
}

func TestFloodLineSize(t *testing.T) {
	for _, size := range []int{300, 1000, 100000} {
		if line := floodLine("us-east-1", 7, size); len(line) != size || line[size-1] != '\n' {
			t.Errorf("size %d: %d bytes", size, len(line))
		}
	}
}
