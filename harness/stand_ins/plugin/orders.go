package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answerFirst is how long a fault waits for its own answer to go out.
const answerFirst = 50 * time.Millisecond

// order turns the parameters of a fault request into the thing to do.
type order struct {
	parse func(*faults, *params) func()
	// lasting faults only change a state; without "after" the change is made
	// before the answer.
	lasting bool
}

// orders holds every kind of POST /standin/fault.
var orders = map[string]order{
	"clear":        {lasting: true, parse: func(f *faults, _ *params) func() { return f.clear }},
	"close":        {lasting: true, parse: requestsOrder(modeClose)},
	"cpu":          {parse: cpuOrder},
	"crash":        {parse: crashOrder},
	"descriptors":  {lasting: true, parse: func(f *faults, _ *params) func() { return f.exhaustDescriptors }},
	"die-mid-line": {parse: dieMidLineOrder},
	"flood":        {parse: floodOrder},
	"freeze":       {parse: func(*faults, *params) func() { return freeze }},
	"grandchild":   {lasting: true, parse: grandchildOrder},
	"hang":         {lasting: true, parse: requestsOrder(modeHang)},
	"health":       {lasting: true, parse: healthOrder},
	"lifeline":     {lasting: true, parse: func(f *faults, _ *params) func() { return f.closeInherited }},
	"memory":       {parse: memoryOrder},
	"raw":          {parse: rawOrder},
	"requests":     {lasting: true, parse: requestsModeOrder},
	"sigterm":      {lasting: true, parse: sigtermOrder},
}

// ServeHTTP answers POST /standin/fault?kind=...
func (f *faults) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	p := &params{query: r.URL.Query(), body: body}
	kind := p.text("kind", "")
	chosen, known := orders[kind]
	if !known {
		kinds := strings.Join(slices.Sorted(maps.Keys(orders)), " ")
		http.Error(w, fmt.Sprintf("unknown kind %q; kinds: %s", kind, kinds), http.StatusBadRequest)
		return
	}
	after := value(p, "after", 0, parseDuration)
	do := chosen.parse(f, p)
	if err := p.check(); err != nil {
		http.Error(w, kind+": "+err.Error(), http.StatusBadRequest)
		return
	}
	if chosen.lasting {
		f.later(after, do)
	} else {
		time.AfterFunc(max(after, answerFirst), do)
	}
	fmt.Fprintln(w, "ordered")
}

func crashOrder(f *faults, p *params) func() {
	d := value(p, "code", death{code: exitFailure}, parseDeath)
	return func() { f.crash(d) }
}

func dieMidLineOrder(_ *faults, p *params) func() {
	d := value(p, "code", death{code: exitFailure}, parseDeath)
	return func() { dieMidLine(d) }
}

func requestsOrder(mode string) func(*faults, *params) func() {
	return func(f *faults, _ *params) func() {
		return func() { f.requests.set(mode) }
	}
}

func requestsModeOrder(f *faults, p *params) func() {
	mode := value(p, "mode", "", parseMode)
	p.require("mode")
	return func() { f.requests.set(mode) }
}

func healthOrder(f *faults, p *params) func() {
	mode := value(p, "mode", "", parseMode)
	p.require("mode")
	return func() { f.health.set(mode) }
}

func sigtermOrder(f *faults, p *params) func() {
	s := sigtermPlan{
		ignore: value(p, "ignore", false, strconv.ParseBool),
		lost:   value(p, "lost", 0, strconv.Atoi),
		delay:  value(p, "delay", 0, parseDuration),
		code:   value(p, "code", 0, parseExitCode),
	}
	return func() { f.setSigterm(s) }
}

func floodOrder(f *faults, p *params) func() {
	burst := flood{
		lines: value(p, "lines", 1000, strconv.Atoi),
		rate:  value(p, "rate", 0, parseRate),
		size:  value(p, "size", 0, strconv.Atoi),
	}
	return func() { burst.run(os.Stderr, f.region) }
}

func rawOrder(_ *faults, p *params) func() {
	raw := rawLog{stdout: value(p, "stream", false, parseStream)}
	raw.data = p.base64Body()
	dies := p.query.Has("then")
	then := value(p, "then", death{}, parseDeath)
	return func() {
		raw.write()
		if dies {
			then.die()
		}
	}
}

func memoryOrder(f *faults, p *params) func() {
	mib := value(p, "mib", 0, strconv.Atoi)
	p.require("mib")
	return func() { f.grow(mib) }
}

func cpuOrder(_ *faults, p *params) func() {
	amount := value(p, "for", time.Second, parseDuration)
	return func() { burn(amount) }
}

func grandchildOrder(f *faults, p *params) func() {
	g := grandchild{
		lifetime: value(p, "lifetime", time.Minute, parseDuration),
		setsid:   value(p, "setsid", false, strconv.ParseBool),
		stubborn: value(p, "stubborn", false, strconv.ParseBool),
	}
	return func() { f.fork(g) }
}

// params reads query parameters and keeps the first thing wrong with them.
type params struct {
	query url.Values
	body  []byte
	used  []string
	err   error
}

// text returns a parameter as it is.
func (p *params) text(name, otherwise string) string {
	p.used = append(p.used, name)
	if !p.query.Has(name) {
		return otherwise
	}
	return p.query.Get(name)
}

// value returns a parsed parameter.
func value[T any](p *params, name string, otherwise T, parse func(string) (T, error)) T {
	text := p.text(name, "")
	if !p.query.Has(name) {
		return otherwise
	}
	parsed, err := parse(text)
	if err != nil {
		p.fail(fmt.Errorf("%s: %w", name, err))
	}
	return parsed
}

// base64Body decodes the body.
func (p *params) base64Body() []byte {
	data, err := parseBase64(string(p.body))
	if err != nil {
		p.fail(fmt.Errorf("body: %w", err))
	}
	return data
}

// require notes a parameter that is missing.
func (p *params) require(name string) {
	if !p.query.Has(name) {
		p.fail(fmt.Errorf("%s is missing", name))
	}
}

func (p *params) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// check returns what is wrong, unknown parameters included.
func (p *params) check() error {
	for name := range p.query {
		if !slices.Contains(p.used, name) {
			p.fail(fmt.Errorf("unknown parameter %q", name))
		}
	}
	return p.err
}
