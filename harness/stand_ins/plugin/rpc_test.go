package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/structpb"

	pb "finfocus-plugin-standin/finfocusv1"
	"finfocus-plugin-standin/finfocusv1/finfocusv1connect"
)

// serveTest runs a server in this process and returns its address.
func serveTest(t *testing.T, web bool) string {
	t.Helper()
	a := &app{region: "us-east-1", log: newLogger(io.Discard, 0)}
	a.faults = newFaults(a.log, a.region, a.plan)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := a.newServer(web)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// client speaks HTTP/1.1, or HTTP/2 with prior knowledge.
func client(http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

// flavours are the ways to call one method.
var flavours = []struct {
	name    string
	http2   bool
	options []connect.ClientOption
}{
	{"connect json http1", false, []connect.ClientOption{connect.WithProtoJSON()}},
	{"connect proto http2", true, nil},
	{"grpc http2", true, []connect.ClientOption{connect.WithGRPC()}},
	{"grpc-web http1", false, []connect.ClientOption{connect.WithGRPCWeb()}},
	{"grpc-web http2", true, []connect.ClientOption{connect.WithGRPCWeb()}},
}

func TestCosts(t *testing.T) {
	url := serveTest(t, true)
	resource := &pb.ResourceDescriptor{Provider: "aws", ResourceType: "ec2", Sku: "t3.micro", Region: "us-east-1"}
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			source := finfocusv1connect.NewCostSourceServiceClient(client(f.http2), url, f.options...)
			name, err := source.Name(t.Context(), connect.NewRequest(&pb.NameRequest{}))
			if err != nil || name.Msg.GetName() != pluginName {
				t.Fatalf("Name: %v, %v", name, err)
			}
			cost, err := source.GetProjectedCost(t.Context(),
				connect.NewRequest(&pb.GetProjectedCostRequest{Resource: resource}))
			if err != nil || cost.Msg.GetCurrency() != "USD" {
				t.Fatalf("GetProjectedCost: %v, %v", cost, err)
			}
			missing := connect.NewClient[structpb.Struct, structpb.Struct](client(f.http2),
				url+"/finfocus.v1.CostSourceService/GetBudgets", f.options...)
			_, err = missing.CallUnary(t.Context(), connect.NewRequest(&structpb.Struct{}))
			if connect.CodeOf(err) != connect.CodeUnimplemented {
				t.Errorf("GetBudgets: %v", err)
			}
		})
	}
}

func TestEchoAndTrailers(t *testing.T) {
	url := serveTest(t, true)
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			caller := connect.NewClient[structpb.Struct, structpb.Struct](
				client(f.http2), url+standInService+"Echo", f.options...)
			message, _ := structpb.NewStruct(map[string]any{"a": "b"})
			request := connect.NewRequest(message)
			request.Header().Set(trailerName, "mine")
			response, err := caller.CallUnary(t.Context(), request)
			if err != nil || response.Msg.Fields["a"].GetStringValue() != "b" {
				t.Fatalf("Echo: %v, %v", response, err)
			}
			if response.Header().Get(headerName) != "begin" || response.Trailer().Get(trailerName) != "mine" {
				t.Errorf("header %v, trailer %v", response.Header(), response.Trailer())
			}
			request = connect.NewRequest(message)
			request.Header().Set(errorName, "not_found")
			_, err = caller.CallUnary(t.Context(), request)
			var failure *connect.Error
			if !errors.As(err, &failure) || failure.Code() != connect.CodeNotFound ||
				failure.Meta().Get(trailerName) != "end" {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestStream(t *testing.T) {
	url := serveTest(t, true)
	for _, f := range flavours {
		t.Run(f.name, func(t *testing.T) {
			caller := connect.NewClient[structpb.Struct, structpb.Struct](
				client(f.http2), url+standInService+"Stream", f.options...)
			message, _ := structpb.NewStruct(map[string]any{"count": 3, "interval_ms": 50})
			begin := time.Now()
			answers, err := caller.CallServerStream(t.Context(), connect.NewRequest(message))
			if err != nil {
				t.Fatal(err)
			}
			var at []time.Duration
			for answers.Receive() {
				at = append(at, time.Since(begin))
			}
			if answers.Err() != nil || len(at) != 3 || answers.ResponseTrailer().Get(trailerName) != "end" {
				t.Fatalf("%v, %v, %v", answers.Err(), at, answers.ResponseTrailer())
			}
			if at[2]-at[0] < 80*time.Millisecond {
				t.Errorf("messages did not come one by one: %v", at)
			}
		})
	}
}

func TestOnlyGRPC(t *testing.T) {
	url := serveTest(t, false)
	source := finfocusv1connect.NewCostSourceServiceClient(client(true), url, connect.WithGRPC())
	if _, err := source.Name(t.Context(), connect.NewRequest(&pb.NameRequest{})); err != nil {
		t.Errorf("gRPC: %v", err)
	}
	source = finfocusv1connect.NewCostSourceServiceClient(client(true), url)
	if _, err := source.Name(t.Context(), connect.NewRequest(&pb.NameRequest{})); err == nil {
		t.Error("Connect was answered")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, url+"/standin", nil)
	if response, err := client(false).Do(request); err == nil && response.StatusCode < 400 {
		t.Errorf("HTTP/1.1 was answered with %s", response.Status)
	}
}

func TestBodyLimit(t *testing.T) {
	url := serveTest(t, true) + "/standin/echo"
	for size, want := range map[int]int{maxBody: http.StatusOK, maxBody + 1: http.StatusRequestEntityTooLarge} {
		for _, http2 := range []bool{false, true} {
			// Hiding the reader's type makes the client send no Content-Length.
			known := strings.NewReader(strings.Repeat("x", size))
			unknown := io.MultiReader(strings.NewReader(strings.Repeat("x", size)))
			for _, body := range []io.Reader{known, unknown} {
				response, err := client(http2).Post(url, "application/octet-stream", body)
				if err != nil || response.StatusCode != want {
					t.Errorf("%d bytes, http2 %v: %v, %v", size, http2, response, err)
				}
			}
		}
	}
}
