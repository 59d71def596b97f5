package main

import (
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// faults is the state of everything that is, or can be, broken at run time.
type faults struct {
	log      zerolog.Logger
	region   string
	health   *gate
	requests *gate

	mu            sync.Mutex
	sigterm       sigtermPlan
	grandchildren []int

	growing sync.Mutex
	memory  [][]byte
}

// newFaults starts from the environment's orders that hold from the start.
func newFaults(log zerolog.Logger, region string, p plan) *faults {
	return &faults{
		log:      log,
		region:   region,
		health:   newGate(),
		requests: newGate(),
		sigterm:  p.sigterm,
	}
}

// start goes through the phase before listening, with the ordered faults, and
// fails where an essential price list cannot be parsed.
func (a *app) start() error {
	a.log.Info().Bool("stand_in", true).Int("pid", os.Getpid()).Msg("stand-in starting")
	if a.plan.crashTimes > 0 {
		a.countCrashes()
	}
	time.Sleep(a.plan.startDelay)
	burn(a.plan.startCPU)
	if err := a.load("/proc/self/exe"); err != nil {
		a.log.Error().Err(err).Msg("failed to initialize pricing client")
		return err
	}
	if a.plan.crashAtStart != nil {
		a.log.Error().Msg("failed to initialize pricing client")
		a.plan.crashAtStart.die()
	}
	a.log.Info().Bool("stand_in", true).Str("aws_region", a.region).Msg("plugin started")
	return nil
}

// load parses the price lists attached to the executable.
func (a *app) load(executable string) (err error) {
	a.prices, err = loadLists(executable, func(service string, err error) {
		a.log.Error().Err(err).Str("service", service).Msg("failed to parse pricing data")
	})
	return err
}

// countCrashes confines the ordered crash to the first starts; where only
// their number is ordered, the crash is at the start.
func (a *app) countCrashes() {
	count, err := countStart(a.plan.stateDir, a.region)
	if err != nil {
		a.log.Error().Err(err).Msg("stand-in: cannot count starts")
		os.Exit(exitUsage)
	}
	if count > a.plan.crashTimes {
		a.plan.crashAtStart, a.plan.crashAfter, a.plan.dieMidLine = nil, 0, 0
		return
	}
	if a.plan.crashAtStart == nil && a.plan.crashAfter == 0 && a.plan.dieMidLine == 0 {
		a.plan.crashAtStart = &a.plan.crashCode
	}
}

// schedule sets off what the environment orders for the time after the start.
func (f *faults) schedule(p plan) {
	f.later(p.health.after, func() { f.health.set(p.health.mode) })
	f.later(p.requests.after, func() { f.requests.set(p.requests.mode) })
	if len(p.raw.data) > 0 {
		p.raw.write()
	}
	if p.grandchild != nil {
		f.fork(*p.grandchild)
	}
	if p.flood.lines != 0 {
		go p.flood.run(os.Stderr, f.region)
	}
	if p.memory.mib > 0 {
		f.later(p.memory.after, func() { f.grow(p.memory.mib) })
	}
	if p.dieMidLine > 0 {
		f.later(p.dieMidLine, func() { dieMidLine(p.crashCode) })
	}
	if p.crashAfter > 0 {
		f.later(p.crashAfter, func() { f.crash(p.crashCode) })
	}
}

// later does a thing after a while, and at once if there is no while.
func (f *faults) later(after time.Duration, do func()) {
	if after <= 0 {
		do()
		return
	}
	time.AfterFunc(after, do)
}

// crash logs a last line and dies.
func (f *faults) crash(d death) {
	f.log.Error().Msg("stand-in: ordered to crash")
	d.die()
}

// dieMidLine leaves half a log line behind.
func dieMidLine(d death) {
	rawLog{data: []byte(halfLine)}.write()
	d.die()
}

// grow holds more memory and touches every page of it. A clear waits until it is done, and so frees all of it.
func (f *faults) grow(mib int) {
	f.growing.Lock()
	defer f.growing.Unlock()
	for range mib {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		f.memory = append(f.memory, block)
	}
}

// exhaustDescriptors lets the process open no file, pipe or connection more; those it has stay.
func (f *faults) exhaustDescriptors() {
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{}); err != nil {
		f.log.Error().Err(err).Msg("stand-in: cannot limit the file descriptors")
	}
}

// closeInherited closes the pipes that the stand-in was started with.
func (f *faults) closeInherited() {
	for _, pipe := range inherited {
		_ = unix.Close(pipe)
	}
	f.log.Info().Int("pipes", len(inherited)).Msg("stand-in: inherited pipes are closed")
}

// fork starts a grandchild and remembers it.
func (f *faults) fork(g grandchild) {
	pid, err := g.start()
	if err != nil {
		f.log.Error().Err(err).Msg("stand-in: cannot start a grandchild")
		return
	}
	f.mu.Lock()
	f.grandchildren = append(f.grandchildren, pid)
	f.mu.Unlock()
	f.log.Info().Int("grandchild_pid", pid).Msg("stand-in: grandchild started")
}

// freeze stops the whole process; only SIGCONT and SIGKILL get through.
func freeze() { _ = unix.Kill(os.Getpid(), unix.SIGSTOP) }

// setSigterm replaces what a signal brings about.
func (f *faults) setSigterm(p sigtermPlan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sigterm = p
}

// currentSigterm is what a signal brings about now.
func (f *faults) currentSigterm() sigtermPlan {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sigterm
}

// children lists the grandchildren started so far.
func (f *faults) children() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int{}, f.grandchildren...)
}

// clear takes back every lasting fault.
func (f *faults) clear() {
	f.health.set(modeOK)
	f.requests.set(modeOK)
	f.setSigterm(sigtermPlan{})
	f.growing.Lock()
	f.memory = nil
	f.growing.Unlock()
	debug.FreeOSMemory()
}
