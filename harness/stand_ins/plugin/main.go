// Command finfocus-plugin-standin stands in for the regional
// finfocus-plugin-aws-public binaries in end-to-end tests: it listens, logs,
// answers and stops as they do, and breaks in every way a test asks for.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
)

// pluginName is the name the real plugin gives itself over its interface;
// it is also the stem of every regional executable's file name.
const pluginName = "finfocus-plugin-aws-public"

// Exit codes of a stand-in that could not start.
const (
	exitFailure = 1
	exitFlags   = 2 // as Go's flag package does
	exitUsage   = 64
)

// version is set at build time with -ldflags "-X main.version=...".
var version = "0.0.0-standin"

// app is one running stand-in.
type app struct {
	region string
	port   int
	plan   plan
	log    zerolog.Logger
	faults *faults
	prices map[string]priceIndex // by service

	deprecatedPort bool // PORT was read
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == grandchildCommand {
		os.Exit(grandchildMain(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:]))
}

// run starts the stand-in, serves until a signal ends it and returns the
// exit code.
func run(args []string) int {
	a, err := newApp(args)
	switch {
	case errors.Is(err, errFlags):
		return exitFlags
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	// As with the real plugin, a signal during the start kills at once,
	// unless the stand-in was ordered to ignore it.
	stops := make(chan os.Signal, 4)
	if a.plan.sigterm.ignore {
		signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	}
	if err := a.start(); err != nil {
		return exitFailure
	}
	if a.deprecatedPort {
		a.log.Warn().Str("env_var", "PORT").Str("replacement", "FINFOCUS_PLUGIN_PORT").
			Msg("PORT environment variable is deprecated, use FINFOCUS_PLUGIN_PORT instead")
	}
	signal.Notify(stops, os.Interrupt, syscall.SIGTERM)

	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		a.log.Error().Err(err).Msg("server error")
		return exitFailure
	}
	fmt.Printf("PORT=%d\n", listener.Addr().(*net.TCPAddr).Port)
	a.faults.schedule(a.plan)
	return a.serve(listener, stops)
}

// newApp reads the arguments and the environment.
func newApp(arguments []string) (*app, error) {
	executable, _ := os.Executable()
	a := &app{region: regionOf(executable, argument(arguments, "region"))}
	a.log = newLogger(os.Stderr, logLevel(os.Getenv))
	faultPlan, err := loadPlan(a.region, os.Getenv)
	if err != nil {
		return nil, err
	}
	a.plan = faultPlan
	a.faults = newFaults(a.log, a.region, faultPlan)
	a.port, a.deprecatedPort, err = choosePort(faultPlan.portOrder, arguments, os.Getenv)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// regionOf takes the region from the executable's file name, else from the
// flag, else it is "unknown".
func regionOf(executable, fromFlag string) string {
	name := filepath.Base(executable)
	if region, found := strings.CutPrefix(name, pluginName+"-"); found && region != "" {
		return region
	}
	if fromFlag != "" {
		return fromFlag
	}
	return "unknown"
}

// envTrue reports whether a switch of the real plugin is on.
func envTrue(name string) bool {
	return strings.EqualFold(os.Getenv(name), "true")
}
