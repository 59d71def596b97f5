// Command pricelist makes a regional executable of the stand-in plugin: the
// program with that region's generated price lists attached.
package main

import (
	"flag"
	"fmt"
	"os"

	"finfocus-plugin-standin/pricelist"
)

func main() {
	program := flag.String("program", "", "the plugin without lists")
	region := flag.String("region", "", "region the lists are for, which is also their seed")
	size := flag.Int64("bytes", 0, "bytes of all lists together; each has one product at least")
	output := flag.String("output", "", "executable to write")
	flag.Parse()
	if *program == "" || *region == "" || *output == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := pricelist.Attach(*output, *program, *region, *size); err != nil {
		fmt.Fprintln(os.Stderr, "pricelist:", err)
		os.Exit(1)
	}
}
