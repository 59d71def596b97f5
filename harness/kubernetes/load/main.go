// Sends requests to every region's address, in four ways, until it is killed.
//
//	load ADDRESS:PORT...
//
// new opens a connection for every request (HTTP/1.1); kept, h2 and grpc keep theirs, as clients of HTTP/1.1, of
// Connect over HTTP/2 and of gRPC do. The output is JSON, one object a line: {"failed": "h2 8001: reason"} at once, and
// every half second the totals: {"new": {"answered": 20, "failed": 0, "connections": 20}, …}.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

const (
	method          = "/finfocus.v1.CostSourceService/Name"
	timeout         = 10 * time.Second
	pause           = 20 * time.Millisecond
	workers         = 2 // of each way
	failuresPrinted = 200
)

type totals struct {
	Answered    atomic.Int64
	Failed      atomic.Int64
	Connections atomic.Int64
}

func (t *totals) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int64{
		"answered": t.Answered.Load(), "failed": t.Failed.Load(), "connections": t.Connections.Load(),
	})
}

func (t *totals) dial(ctx context.Context, network, address string) (net.Conn, error) {
	t.Connections.Add(1)
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

// A way sends one request to an address.
type way func(ctx context.Context, address string) error

func newConnections(t *totals) way {
	client := &http.Client{Transport: &http.Transport{DialContext: t.dial, DisableKeepAlives: true}}
	return func(ctx context.Context, address string) error {
		return send(ctx, client, http.MethodGet, "http://"+address+"/healthz", nil)
	}
}

func connect(t *totals, transport *http.Transport) way {
	transport.DialContext = t.dial
	client := &http.Client{Transport: transport}
	return func(ctx context.Context, address string) error {
		return send(ctx, client, http.MethodPost, "http://"+address+method, []byte("{}"))
	}
}

func keptConnections(t *totals) way {
	return connect(t, &http.Transport{})
}

func http2(t *totals) way {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return connect(t, &http.Transport{Protocols: protocols})
}

func send(ctx context.Context, client *http.Client, verb, url string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, verb, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	return nil
}

// raw passes message bytes through: the request is empty, and any answer will do.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(any) (mem.BufferSlice, error) { return nil, nil }

func (raw) Unmarshal(mem.BufferSlice, any) error { return nil }

var _ encoding.CodecV2 = raw{}

func overGRPC(t *totals) way {
	channels := map[string]*grpc.ClientConn{}
	return func(ctx context.Context, address string) error {
		channel := channels[address]
		if channel == nil {
			made, err := grpc.NewClient("passthrough:///"+address,
				grpc.WithTransportCredentials(insecure.NewCredentials()),
				grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
					return t.dial(ctx, "tcp", address)
				}))
			if err != nil {
				return err
			}
			channel, channels[address] = made, made
		}
		return channel.Invoke(ctx, method, nil, nil, grpc.ForceCodecV2(raw{}))
	}
}

var output sync.Mutex

func say(what any) {
	output.Lock()
	defer output.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(what)
}

func work(name string, t *totals, call way, addresses []string) {
	for {
		for _, address := range addresses {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			err := call(ctx, address)
			cancel()
			if err == nil {
				t.Answered.Add(1)
			} else if t.Failed.Add(1) <= failuresPrinted {
				say(map[string]string{"failed": fmt.Sprintf("%s %s: %s", name, address, err)})
			}
			time.Sleep(pause)
		}
	}
}

// A network that enforces policies blocks a new pod until it has learned its address.
func awaitNetwork(address string) {
	for {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			connection.Close()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func main() {
	addresses := os.Args[1:]
	if len(addresses) == 0 {
		fmt.Fprintln(os.Stderr, "usage: load ADDRESS:PORT...")
		os.Exit(64)
	}
	awaitNetwork(addresses[0])
	ways := map[string]func(*totals) way{
		"new": newConnections, "kept": keptConnections, "h2": http2, "grpc": overGRPC,
	}
	counts := map[string]*totals{}
	for name, make := range ways {
		t := new(totals)
		counts[name] = t
		for range workers {
			go work(name, t, make(t), addresses)
		}
	}
	for range time.Tick(500 * time.Millisecond) {
		say(counts)
	}
}
