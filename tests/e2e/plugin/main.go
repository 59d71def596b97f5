// Command finfocus-plugin-standin stands in for the regional
// finfocus-plugin-aws-public binaries in end-to-end tests: it listens, logs,
// answers and stops as they do, and breaks in every way a test asks for.
package main

import (
	"flag"
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
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	// As with the real plugin, a signal during the start kills at once,
	// unless the stand-in was ordered to ignore it.
	stops := make(chan os.Signal, 4)
	if a.plan.sigterm.ignore {
		signal.Notify(stops, os.Interrupt, syscall.SIGTERM)
	}
	a.start()
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

// newApp reads the flags and the environment.
func newApp(args []string) (*app, error) {
	flags := flag.NewFlagSet(pluginName, flag.ContinueOnError)
	portFlag := flags.Int("port", 0, "TCP port to listen on (overrides FINFOCUS_PLUGIN_PORT)")
	regionFlag := flags.String("region", "", "region, if the file name does not carry one")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	executable, _ := os.Executable()
	a := &app{region: regionOf(executable, *regionFlag)}
	a.log = newLogger(os.Stderr, logLevel(os.Getenv))
	faultPlan, err := loadPlan(a.region, os.Getenv)
	if err != nil {
		return nil, err
	}
	a.plan = faultPlan
	a.faults = newFaults(a.log, a.region, faultPlan)
	port, deprecated := choosePort(*portFlag, os.Getenv)
	if deprecated {
		a.log.Warn().Str("env_var", "PORT").Str("replacement", "FINFOCUS_PLUGIN_PORT").
			Msg("PORT environment variable is deprecated, use FINFOCUS_PLUGIN_PORT instead")
	}
	a.port = port
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

// choosePort applies the order --port, FINFOCUS_PLUGIN_PORT, PORT, any free
// port (0), and tells whether the deprecated PORT was looked at.
func choosePort(fromFlag int, getenv func(string) string) (port int, deprecated bool) {
	if fromFlag > 0 {
		return fromFlag, false
	}
	if port, ok := parsePort(getenv("FINFOCUS_PLUGIN_PORT")); ok {
		return port, false
	}
	if getenv("PORT") == "" {
		return 0, false
	}
	port, _ = parsePort(getenv("PORT"))
	return port, true
}

// parsePort accepts 1 to 65535.
func parsePort(text string) (int, bool) {
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, false
	}
	return port, true
}

// envTrue reports whether a switch of the real plugin is on.
func envTrue(name string) bool {
	return strings.EqualFold(os.Getenv(name), "true")
}
