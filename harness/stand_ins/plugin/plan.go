package main

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// plan is everything the environment orders.
type plan struct {
	portOrder    portOrder
	startDelay   time.Duration
	startCPU     time.Duration
	crashAtStart *death
	crashAfter   time.Duration
	crashCode    death
	crashTimes   int
	stateDir     string
	sigterm      sigtermPlan
	health       timedMode
	requests     timedMode
	flood        flood
	raw          rawLog
	dieMidLine   time.Duration
	memory       timedMemory
	grandchild   *grandchild
}

// sigtermPlan says what SIGTERM or SIGINT brings about.
type sigtermPlan struct {
	ignore bool
	lost   int // so many signals have no effect
	delay  time.Duration
	code   int
}

// timedMode is a mode of answering that begins after a while.
type timedMode struct {
	mode  string
	after time.Duration
}

// timedMemory is a memory growth that begins after a while.
type timedMemory struct {
	mib   int
	after time.Duration
}

// envFaults names every variable and what it sets.
var envFaults = []struct {
	name string
	set  func(*plan, string) error
}{
	{"STANDIN_PORT_ORDER", into(parsePortOrder, func(p *plan) *portOrder { return &p.portOrder })},
	{"STANDIN_START_DELAY", into(parseDuration, func(p *plan) *time.Duration { return &p.startDelay })},
	{"STANDIN_START_CPU", into(parseDuration, func(p *plan) *time.Duration { return &p.startCPU })},
	{"STANDIN_CRASH_AT_START", setCrashAtStart},
	{"STANDIN_CRASH_AFTER", into(parseDuration, func(p *plan) *time.Duration { return &p.crashAfter })},
	{"STANDIN_CRASH_CODE", into(parseDeath, func(p *plan) *death { return &p.crashCode })},
	{"STANDIN_CRASH_TIMES", into(strconv.Atoi, func(p *plan) *int { return &p.crashTimes })},
	{"STANDIN_STATE_DIR", into(parseText, func(p *plan) *string { return &p.stateDir })},
	{"STANDIN_IGNORE_SIGTERM", into(strconv.ParseBool, func(p *plan) *bool { return &p.sigterm.ignore })},
	{"STANDIN_SIGTERM_LOST", into(strconv.Atoi, func(p *plan) *int { return &p.sigterm.lost })},
	{"STANDIN_SIGTERM_DELAY", into(parseDuration, func(p *plan) *time.Duration { return &p.sigterm.delay })},
	{"STANDIN_SIGTERM_EXIT", into(parseExitCode, func(p *plan) *int { return &p.sigterm.code })},
	{"STANDIN_HEALTH_MODE", into(parseTimedMode, func(p *plan) *timedMode { return &p.health })},
	{"STANDIN_REQUEST_MODE", into(parseTimedMode, func(p *plan) *timedMode { return &p.requests })},
	{"STANDIN_LOG_FLOOD_LINES", into(strconv.Atoi, func(p *plan) *int { return &p.flood.lines })},
	{"STANDIN_LOG_FLOOD_RATE", into(parseRate, func(p *plan) *float64 { return &p.flood.rate })},
	{"STANDIN_LOG_FLOOD_SIZE", into(strconv.Atoi, func(p *plan) *int { return &p.flood.size })},
	{"STANDIN_LOG_RAW", into(parseBase64, func(p *plan) *[]byte { return &p.raw.data })},
	{"STANDIN_LOG_RAW_STREAM", into(parseStream, func(p *plan) *bool { return &p.raw.stdout })},
	{"STANDIN_DIE_MID_LINE", into(parseDuration, func(p *plan) *time.Duration { return &p.dieMidLine })},
	{"STANDIN_MEMORY", into(parseTimedMemory, func(p *plan) *timedMemory { return &p.memory })},
	{"STANDIN_GRANDCHILD", setGrandchild},
}

// loadPlan reads every variable for this region; a variable that cannot be
// understood is an error, lest a test believe in a fault that never comes.
func loadPlan(region string, getenv func(string) string) (plan, error) {
	p := plan{
		portOrder: portOrderOf(version),
		crashCode: death{code: exitFailure},
		stateDir:  "/dev/shm",
		health:    timedMode{mode: modeOK},
		requests:  timedMode{mode: modeOK},
	}
	for _, fault := range envFaults {
		value, err := valueFor(region, getenv(fault.name))
		if err == nil && value != "" {
			err = fault.set(&p, value)
		}
		if err != nil {
			return plan{}, fmt.Errorf("%s: %w", fault.name, err)
		}
	}
	return p, nil
}

// regionEntry is the head of one entry of a per-region list.
var regionEntry = regexp.MustCompile(`^(\*|[a-z]{2}(?:-[a-z]+)+-[0-9]+)=`)

// valueFor picks the value meant for region: the whole text if it is a plain
// value; of a list "region=value,..." the region's own entry, else that of
// "*", else nothing.
func valueFor(region, text string) (string, error) {
	if !regionEntry.MatchString(text) {
		return text, nil
	}
	value, found, fallback := "", false, ""
	for _, entry := range strings.Split(text, ",") {
		head := regionEntry.FindStringSubmatch(entry)
		if head == nil {
			return "", fmt.Errorf("%q is not of the form region=value", entry)
		}
		switch rest := entry[len(head[0]):]; head[1] {
		case region:
			value, found = rest, true
		case "*":
			fallback = rest
		}
	}
	if found {
		return value, nil
	}
	return fallback, nil
}

// into makes a setter of a parser and the place its result goes to.
func into[T any](parse func(string) (T, error), place func(*plan) *T) func(*plan, string) error {
	return func(p *plan, text string) error {
		value, err := parse(text)
		if err != nil {
			return err
		}
		*place(p) = value
		return nil
	}
}

func setCrashAtStart(p *plan, text string) error {
	d, err := parseDeath(text)
	p.crashAtStart = &d
	return err
}

func setGrandchild(p *plan, text string) error {
	g, err := parseGrandchild(text)
	p.grandchild = &g
	return err
}

func parseText(text string) (string, error) { return text, nil }

// parseDuration accepts Go durations that are not negative.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%q is negative", text)
	}
	return d, err
}

// parseExitCode accepts 0 to 255.
func parseExitCode(text string) (int, error) {
	code, err := strconv.Atoi(text)
	if err != nil || code < 0 || code > 255 {
		return 0, fmt.Errorf("%q is not an exit code", text)
	}
	return code, nil
}

// parseRate accepts a number of lines a second, or "max".
func parseRate(text string) (float64, error) {
	if text == "max" {
		return 0, nil
	}
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || !(rate >= 0) {
		return 0, fmt.Errorf("%q is not a rate", text)
	}
	return rate, nil
}

func parseBase64(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimSpace(text))
}

// parseStream tells whether raw bytes go to standard output.
func parseStream(text string) (stdout bool, err error) {
	switch text {
	case "stdout":
		return true, nil
	case "stderr":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither stdout nor stderr", text)
}

// parseTimed cuts "value@duration" in two.
func parseTimed(text string) (value string, after time.Duration, err error) {
	value, when, timed := strings.Cut(text, "@")
	if timed {
		after, err = parseDuration(when)
	}
	return value, after, err
}

func parseTimedMode(text string) (timedMode, error) {
	value, after, err := parseTimed(text)
	if err != nil {
		return timedMode{}, err
	}
	mode, err := parseMode(value)
	return timedMode{mode: mode, after: after}, err
}

func parseTimedMemory(text string) (timedMemory, error) {
	value, after, err := parseTimed(text)
	if err != nil {
		return timedMemory{}, err
	}
	mib, err := strconv.Atoi(value)
	return timedMemory{mib: mib, after: after}, err
}
