package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
)

// errFlags says that the usage has been printed already.
var errFlags = errors.New("flags cannot be understood")

// portOrder says where the port is looked for.
type portOrder int

const (
	portVariable portOrder = iota + 1 // variables only; --port is unknown: v0.1.0 to v0.1.5
	portFlag                          // --port only
	portBoth                          // --port, then the variables: since v0.1.6
)

// parsePortOrder accepts "variable", "flag" and "both".
func parsePortOrder(text string) (portOrder, error) {
	switch text {
	case "variable":
		return portVariable, nil
	case "flag":
		return portFlag, nil
	case "both":
		return portBoth, nil
	}
	return 0, fmt.Errorf("port order %q is none of variable, flag, both", text)
}

// portOrderOf returns what the real plugin of a version does. Local versions
// (0.0.0-...) and texts that are no version count as the newest.
func portOrderOf(version string) portOrder {
	core, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	var major, minor, patch int
	if n, _ := fmt.Sscanf(core, "%d.%d.%d", &major, &minor, &patch); n != 3 || core == "0.0.0" {
		return portBoth
	}
	if major == 0 && (minor < 1 || minor == 1 && patch < 6) {
		return portVariable
	}
	return portBoth
}

// choosePort returns the port to listen on (0 is any free port) and whether
// the deprecated PORT was read. Where --port is known, arguments that cannot
// be understood are an error; where it is not, no argument matters.
func choosePort(
	order portOrder, arguments []string, getenv func(string) string,
) (port int, deprecated bool, err error) {
	if order != portVariable {
		port, err := parseFlags(arguments)
		if err != nil || port != 0 || order == portFlag {
			return port, false, err
		}
	}
	if port, valid := parsePort(getenv("FINFOCUS_PLUGIN_PORT")); valid {
		return port, false, nil
	}
	port, _ = parsePort(getenv("PORT"))
	return port, getenv("PORT") != "", nil
}

// parseFlags reads --port as Go's flag package does, which refuses unknown
// flags and prints the usage.
func parseFlags(arguments []string) (port int, err error) {
	flags := flag.NewFlagSet(pluginName, flag.ContinueOnError)
	flags.IntVar(&port, "port", 0, "TCP port to listen on (overrides FINFOCUS_PLUGIN_PORT)")
	flags.String("region", "", "region, if the file name does not carry one")
	if err := flags.Parse(arguments); err != nil {
		return 0, errFlags
	}
	return port, nil
}

// argument returns the value of --name VALUE or --name=VALUE, with one dash or
// two; other arguments are skipped.
func argument(arguments []string, name string) string {
	for i, text := range arguments {
		bare := strings.TrimPrefix(strings.TrimPrefix(text, "-"), "-")
		if bare == text {
			continue
		}
		if bare == name {
			if i+1 < len(arguments) {
				return arguments[i+1]
			}
			return ""
		}
		if value, found := strings.CutPrefix(bare, name+"="); found {
			return value
		}
	}
	return ""
}

// parsePort accepts 1 to 65535.
func parsePort(text string) (int, bool) {
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return 0, false
	}
	return port, true
}
