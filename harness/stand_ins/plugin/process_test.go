package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain turns the test binary into the stand-in where a test starts it so.
func TestMain(m *testing.M) {
	if os.Getenv("STANDIN_TEST_PROCESS") == "" {
		os.Exit(m.Run())
	}
	main()
}

// standIn is a running process.
type standIn struct {
	command *exec.Cmd
	url     string
	mu      sync.Mutex
	stderr  bytes.Buffer
	ended   chan error
}

// Write collects standard error.
func (s *standIn) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.Write(p)
}

// log is what standard error has got so far.
func (s *standIn) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

// start runs the stand-in with more environment; where it does not get as far
// as its port, url is empty.
func start(t *testing.T, env ...string) *standIn {
	t.Helper()
	return startWith(t, nil, env...)
}

// startWith is start with more arguments.
func startWith(t *testing.T, arguments []string, env ...string) *standIn {
	t.Helper()
	return startProgram(t, os.Args[0], append([]string{"--region", "us-east-1"}, arguments...), env...)
}

// startProgram is startWith for another executable.
func startProgram(t *testing.T, program string, arguments []string, env ...string) *standIn {
	t.Helper()
	s, output := launch(t, program, arguments, env...)
	line, _ := bufio.NewReader(output).ReadString('\n')
	if port, ok := strings.CutPrefix(strings.TrimSpace(line), "PORT="); ok {
		s.url = "http://127.0.0.1:" + port
	}
	go func() { s.ended <- s.command.Wait() }()
	return s
}

// launch starts an executable and does not wait for its port.
func launch(t *testing.T, program string, arguments []string, env ...string) (*standIn, io.Reader) {
	t.Helper()
	s := &standIn{command: exec.Command(program, arguments...), ended: make(chan error, 1)}
	s.command.Env = append([]string{"STANDIN_TEST_PROCESS=1", "FINFOCUS_PLUGIN_WEB_ENABLED=true",
		"FINFOCUS_PLUGIN_HEALTH_ENDPOINT=true"}, env...)
	s.command.Stderr = s
	s.command.WaitDelay = 100 * time.Millisecond
	output, err := s.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.command.Process.Kill() })
	return s, output
}

// wait returns the exit code, or minus the signal that ended the process.
func (s *standIn) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the process did not end")
	}
	status := s.command.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return -int(status.Signal())
	}
	return status.ExitStatus()
}

// call sends a request and returns the status and the body, or "" and 0 where
// no answer comes within a second.
func (s *standIn) call(method, path, body string) (int, string) {
	request, _ := http.NewRequest(method, s.url+path, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	response, err := (&http.Client{
		Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true},
	}).Do(request)
	if err != nil {
		return 0, ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// order sends a fault request.
func (s *standIn) order(t *testing.T, query, body string) {
	t.Helper()
	if code, text := s.call("POST", "/standin/fault?"+query, body); code != 200 {
		t.Fatalf("%s: %d %s", query, code, text)
	}
}

// health is the status of /healthz.
func (s *standIn) health() int {
	code, _ := s.call("GET", "/healthz", "")
	return code
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 100 {
		if holds() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("never: %s", what)
}

func TestStopsCleanly(t *testing.T) {
	s := start(t)
	if s.health() != 200 {
		t.Fatal("not healthy")
	}
	begin := time.Now()
	_ = s.command.Process.Signal(syscall.SIGTERM)
	if code := s.wait(t); code != 0 || time.Since(begin) > time.Second {
		t.Errorf("exit %d after %v", code, time.Since(begin))
	}
	if !strings.Contains(s.log(), `"stand_in":true`) {
		t.Errorf("log: %s", s.log())
	}
}

func TestHowItEnds(t *testing.T) {
	cases := []struct {
		env   string // orders by environment,
		query string // by request,
		term  bool   // and whether SIGTERM is sent
		want  int
	}{
		{env: "STANDIN_CRASH_AT_START=3", want: 3},
		{env: "STANDIN_CRASH_AT_START=us-east-1=SIGKILL", want: -9},
		{env: "STANDIN_CRASH_AT_START=panic", want: 2},
		{env: "STANDIN_CRASH_AFTER=100ms", want: 1},
		{env: "STANDIN_DIE_MID_LINE=100ms", want: 1},
		{env: "STANDIN_SIGTERM_EXIT=143", term: true, want: 143},
		{env: "STANDIN_START_DELAY=soon", want: exitUsage},
		{query: "kind=crash", want: 1},
		{query: "kind=crash&code=7&after=100ms", want: 7},
		{query: "kind=crash&code=SIGKILL", want: -9},
		{query: "kind=crash&code=panic", want: 2},
		{query: "kind=die-mid-line&code=5", want: 5},
		{query: "kind=raw&then=6", want: 6},
		{query: "kind=sigterm&code=9", term: true, want: 9},
	}
	for _, c := range cases {
		t.Run(c.env+c.query, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.env)
			if c.query != "" {
				s.order(t, c.query, "")
			}
			if c.term {
				_ = s.command.Process.Signal(syscall.SIGTERM)
			}
			if got := s.wait(t); got != c.want {
				t.Errorf("ended with %d, want %d; log %s", got, c.want, s.log())
			}
		})
	}
}

func TestCrashTimes(t *testing.T) {
	env := []string{"STANDIN_CRASH_TIMES=2", "STANDIN_CRASH_CODE=4", "STANDIN_STATE_DIR=" + t.TempDir()}
	for range 2 {
		if code := start(t, env...).wait(t); code != 4 {
			t.Errorf("exit %d", code)
		}
	}
	if s := start(t, env...); s.health() != 200 {
		t.Error("the third start failed too")
	}
}

func TestStartTakesTime(t *testing.T) {
	begin := time.Now()
	s := start(t, "STANDIN_START_DELAY=200ms", "STANDIN_START_CPU=us-east-1=300ms")
	if took := time.Since(begin); took < 500*time.Millisecond {
		t.Errorf("started in %v", took)
	}
	_ = s.command.Process.Signal(syscall.SIGTERM)
	s.wait(t)
	if used := s.command.ProcessState.UserTime() + s.command.ProcessState.SystemTime(); used < 300*time.Millisecond {
		t.Errorf("used %v of processor time", used)
	}
}

func TestSignals(t *testing.T) {
	s := start(t, "STANDIN_IGNORE_SIGTERM=true")
	_ = s.command.Process.Signal(syscall.SIGTERM)
	eventually(t, "the signal arrived", func() bool { return strings.Contains(s.log(), "shutdown signal") })
	if s.health() != 200 {
		t.Fatal("did not ignore SIGTERM")
	}
	// That one counts: one more is lost, the next ends it.
	s.order(t, "kind=sigterm&lost=2&code=4", "")
	_ = s.command.Process.Signal(syscall.SIGTERM)
	eventually(t, "the second signal arrived", func() bool { return strings.Count(s.log(), "shutdown signal") == 2 })
	if s.health() != 200 {
		t.Fatal("did not lose the second SIGTERM")
	}
	s.order(t, "kind=sigterm&delay=500ms&code=3", "")
	begin := time.Now()
	_ = s.command.Process.Signal(syscall.SIGTERM)
	if code := s.wait(t); code != 3 || time.Since(begin) < 500*time.Millisecond {
		t.Errorf("exit %d after %v", code, time.Since(begin))
	}
}

func TestInheritedPipesCanBeClosed(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(writer.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	s := start(t)
	_ = writer.Close()
	s.order(t, "kind=lifeline", "")
	_ = reader.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := reader.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the pipe has not ended: %v", err)
	}
	if s.health() != 200 {
		t.Error("the stand-in has ended with it")
	}
}

func TestModes(t *testing.T) {
	s := start(t, "STANDIN_HEALTH_MODE=500")
	name := func() int {
		code, _ := s.call("POST", "/finfocus.v1.CostSourceService/Name", "{}")
		return code
	}
	steps := []struct {
		query        string
		health, name int
	}{
		{"", 500, 200},
		{"kind=health&mode=hang", 0, 200},
		{"kind=health&mode=close", 0, 200},
		{"kind=health&mode=ok", 200, 200},
		{"kind=hang", 0, 0},
		{"kind=clear", 200, 200},
		{"kind=close", 0, 0},
		{"kind=requests&mode=500", 500, 500},
		{"kind=requests&mode=ok", 200, 200},
	}
	for _, step := range steps {
		if step.query != "" {
			s.order(t, step.query, "")
		}
		if health, name := s.health(), name(); health != step.health || name != step.name {
			t.Errorf("%q: health %d, name %d", step.query, health, name)
		}
	}
	late := start(t, "STANDIN_REQUEST_MODE=hang@1500ms")
	if late.health() != 200 {
		t.Error("hangs too early")
	}
	eventually(t, "hang after a while", func() bool { return late.health() == 0 })
}

func TestLogs(t *testing.T) {
	broken := "not json \xff\xfe\n"
	coded := base64.StdEncoding.EncodeToString([]byte(broken))
	s := start(t, "STANDIN_LOG_RAW="+coded, "STANDIN_LOG_FLOOD_LINES=500", "STANDIN_LOG_FLOOD_SIZE=400",
		"STANDIN_LOG_FLOOD_RATE=max")
	s.order(t, "kind=raw", coded)
	eventually(t, "raw bytes twice", func() bool { return strings.Count(s.log(), broken) == 2 })
	s.order(t, "kind=flood&lines=50&rate=500&size=100000", "")
	eventually(t, "all lines", func() bool { return strings.Count(s.log(), `"message":"flood"`) == 550 })
	for line := range strings.SplitSeq(strings.TrimSpace(s.log()), "\n") {
		if line+"\n" != broken && !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %.100s", line)
		}
	}
	s.order(t, "kind=die-mid-line", "")
	s.wait(t)
	if !strings.HasSuffix(s.log(), halfLine) {
		t.Error("no half line at the end")
	}
}

func TestMemoryAndProcessor(t *testing.T) {
	s := start(t)
	before, _ := s.usage(t)
	s.order(t, "kind=memory&mib=64", "")
	eventually(t, "64 MiB more", func() bool { rss, _ := s.usage(t); return rss > before+60<<10 })
	s.order(t, "kind=clear", "")
	eventually(t, "memory freed", func() bool { rss, _ := s.usage(t); return rss < before+30<<10 })
	s.order(t, "kind=cpu&for=300ms", "")
	eventually(t, "processor time used", func() bool { _, ticks := s.usage(t); return ticks >= 30 })
}

// usage returns the resident memory in KiB and the processor time in ticks.
func (s *standIn) usage(t *testing.T) (rss, ticks int) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", s.command.Process.Pid)
	status, _ := os.ReadFile(proc + "status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, _ = fmt.Sscan(rest, &rss)
		}
	}
	stat, _ := os.ReadFile(proc + "stat")
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var user, system int
	_, _ = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	return rss, user + system
}

func TestGrandchildSurvives(t *testing.T) {
	s := start(t, "STANDIN_GRANDCHILD=5s+stubborn")
	_, text := s.call("GET", "/standin", "")
	var about struct {
		StandIn       bool  `json:"stand_in"`
		PID           int   `json:"pid"`
		Grandchildren []int `json:"grandchildren"`
	}
	if err := json.Unmarshal([]byte(text), &about); err != nil || !about.StandIn || len(about.Grandchildren) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	_ = s.command.Process.Kill()
	s.wait(t)
	pid := about.Grandchildren[0]
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("grandchild %d: %v", pid, err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestEnvironment(t *testing.T) {
	odd := "ODD=\xff a=b\n\"quoted\""
	s := start(t, odd, "EMPTY=")
	_, text := s.call("POST", standInService+"Environment", "{}")
	var answer struct{ Entries [][]byte }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err, text)
	}
	var got []string
	for _, entry := range answer.Entries {
		got = append(got, string(entry))
	}
	if !slices.Equal(got, s.command.Env) {
		t.Errorf("got %q, want %q", got, s.command.Env)
	}
}

func TestBadOrders(t *testing.T) {
	s := start(t)
	for _, query := range []string{"", "kind=none", "kind=crash&code=x", "kind=crash&cod=1", "kind=health",
		"kind=memory", "kind=crash&after=-1s", "kind=grandchild&setsid=maybe"} {
		if code, text := s.call("POST", "/standin/fault?"+query, ""); code != 400 {
			t.Errorf("%q: %d %s", query, code, text)
		}
	}
	if code, _ := s.call("POST", "/standin/fault?kind=raw", "!"); code != 400 {
		t.Errorf("bad base64: %d", code)
	}
	if _, text := s.call("POST", "/standin/fault?kind=none", ""); !strings.Contains(text, "die-mid-line") {
		t.Errorf("kinds are not listed: %s", text)
	}
	if code, _ := s.call("GET", "/standin/fault?kind=crash", ""); code != 405 {
		t.Errorf("GET: %d", code)
	}
}
