package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
)

// halfLine is what a plugin leaves behind that dies while it writes.
const halfLine = `{"level":"error","plugin_name":"aws-public","message":"this line is never fini`

// newLogger makes a logger whose lines look like the real plugin's.
func newLogger(out io.Writer, level zerolog.Level) zerolog.Logger {
	zerolog.TimestampFunc = func() time.Time { return time.Now().UTC() }
	return zerolog.New(out).Level(level).With().
		Str("plugin_name", "aws-public").
		Str("plugin_version", version).
		Timestamp().
		Logger()
}

// logLevel applies the order FINFOCUS_LOG_LEVEL, LOG_LEVEL, info.
func logLevel(getenv func(string) string) zerolog.Level {
	for _, name := range []string{"FINFOCUS_LOG_LEVEL", "LOG_LEVEL"} {
		if text := getenv(name); text != "" {
			if level, err := zerolog.ParseLevel(text); err == nil {
				return level
			}
			break
		}
	}
	return zerolog.InfoLevel
}

// flood describes a burst of log lines on standard error.
type flood struct {
	lines int     // how many; negative: without end
	rate  float64 // lines a second; 0: as fast as possible
	size  int     // bytes a line, its newline included; 0: as short as can be
}

// run writes the flood; it returns when all is written or a write fails.
func (f flood) run(out io.Writer, region string) {
	start := time.Now()
	for i := 0; f.lines < 0 || i < f.lines; i++ {
		if f.rate > 0 {
			due := start.Add(time.Duration(float64(i) / f.rate * float64(time.Second)))
			time.Sleep(time.Until(due))
		}
		if _, err := out.Write(floodLine(region, i, f.size)); err != nil {
			return
		}
	}
}

// floodLine is one numbered line, padded to size bytes where it is shorter.
func floodLine(region string, sequence, size int) []byte {
	head := fmt.Sprintf(`{"level":"info","plugin_name":"aws-public","plugin_version":%q,"aws_region":%q,"seq":%d,"pad":"`,
		version, region, sequence)
	tail := fmt.Sprintf(`","time":%q,"message":"flood"}`+"\n", time.Now().UTC().Format(time.RFC3339))
	var line bytes.Buffer
	line.Grow(max(size, len(head)+len(tail)))
	line.WriteString(head)
	if padding := size - len(head) - len(tail); padding > 0 {
		line.Write(bytes.Repeat([]byte("x"), padding))
	}
	line.WriteString(tail)
	return line.Bytes()
}

// rawLog is a run of bytes to be written verbatim.
type rawLog struct {
	data   []byte
	stdout bool
}

// write puts the bytes on their stream in one call.
func (r rawLog) write() {
	out := os.Stderr
	if r.stdout {
		out = os.Stdout
	}
	_, _ = out.Write(r.data)
}
