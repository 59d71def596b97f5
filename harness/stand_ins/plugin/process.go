package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grandchildCommand is the first argument of a process started as a
// grandchild of whoever started the stand-in.
const grandchildCommand = "grandchild"

// death is a way to end the process: an exit code, a signal to itself or an
// unrecovered panic.
type death struct {
	code   int
	signal unix.Signal
	panics bool
}

// parseDeath accepts an exit code, a signal name such as SIGKILL, or "panic".
func parseDeath(text string) (death, error) {
	if text == "panic" {
		return death{panics: true}, nil
	}
	if sig := unix.SignalNum(text); sig != 0 {
		return death{signal: sig}, nil
	}
	code, err := parseExitCode(text)
	if err != nil {
		return death{}, fmt.Errorf("%q is no exit code, signal name or \"panic\"", text)
	}
	return death{code: code}, nil
}

// die ends the process; it must not run under a recovering caller.
func (d death) die() {
	switch {
	case d.panics:
		panic("stand-in: ordered to panic")
	case d.signal != 0:
		signal.Reset(d.signal)
		_ = unix.Kill(os.Getpid(), d.signal)
		time.Sleep(time.Second)
		os.Exit(128 + int(d.signal))
	}
	os.Exit(d.code)
}

// inherited are the pipes beside the three streams that the process was
// started with; looked for before the program opens one of its own.
var inherited = inheritedPipes()

func inheritedPipes() (pipes []int) {
	for descriptor := 3; descriptor < 64; descriptor++ {
		var stat unix.Stat_t
		if unix.Fstat(descriptor, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO {
			pipes = append(pipes, descriptor)
		}
	}
	return pipes
}

// burn uses up the given time of one processor core, as the clock of its own
// thread counts it.
func burn(amount time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	end := threadCPU() + amount
	for sum := uint64(1); threadCPU() < end; {
		for range 10000 {
			sum = sum*6364136223846793005 + 1442695040888963407
		}
		runtime.KeepAlive(sum)
	}
}

// threadCPU reads the calling thread's processor clock.
func threadCPU() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
	return time.Duration(now.Nano())
}

// countStart adds one to the region's counter file and returns the number of
// starts, this one included.
func countStart(dir, region string) (int, error) {
	path := filepath.Join(dir, "standin-"+region+".starts")
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return 0, err
	}
	count, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	count++
	return count, os.WriteFile(path, []byte(strconv.Itoa(count)+"\n"), 0o600)
}

// grandchild is a process that outlives the stand-in and keeps its standard
// output and error open.
type grandchild struct {
	lifetime time.Duration
	setsid   bool // leave the process group and session
	stubborn bool // ignore SIGTERM and SIGINT
}

// parseGrandchild accepts "60s", "60s+setsid", "60s+stubborn" and both.
func parseGrandchild(text string) (grandchild, error) {
	lifetime, options, _ := strings.Cut(text, "+")
	duration, err := parseDuration(lifetime)
	g := grandchild{lifetime: duration}
	for option := range strings.SplitSeq(options, "+") {
		switch option {
		case "":
		case "setsid":
			g.setsid = true
		case "stubborn":
			g.stubborn = true
		default:
			return g, fmt.Errorf("unknown option %q", option)
		}
	}
	return g, err
}

// start runs the process and returns its id.
func (g grandchild) start() (int, error) {
	executable, err := os.Executable()
	if err != nil {
		return 0, err
	}
	command := exec.Command(executable, grandchildCommand, g.lifetime.String(), strconv.FormatBool(g.stubborn))
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: g.setsid}
	if err := command.Start(); err != nil {
		return 0, err
	}
	go func() { _ = command.Wait() }()
	return command.Process.Pid, nil
}

// grandchildMain is the program of the grandchild: it sleeps.
func grandchildMain(args []string) int {
	if len(args) != 2 {
		return exitUsage
	}
	lifetime, err := parseDuration(args[0])
	if err != nil {
		return exitUsage
	}
	if args[1] == "true" {
		signal.Ignore(os.Interrupt, syscall.SIGTERM)
	}
	time.Sleep(lifetime)
	return 0
}
