package main

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/structpb"
)

// standInService is a small service of the stand-in's own; its messages are
// google.protobuf.Struct, so that any client can call it.
const standInService = "/finfocus.standin.v1.StandIn/"

// Headers and trailers of the stand-in's own service.
const (
	headerName  = "Standin-Header"
	trailerName = "Standin-Trailer"
	errorName   = "Standin-Error"
	delayName   = "Standin-Delay"
)

// registerStandIn adds Echo, Stream and Environment.
func registerStandIn(mux *http.ServeMux, options ...connect.HandlerOption) {
	handle := func(method string, handler http.Handler) {
		mux.HandleFunc(standInService+method, func(w http.ResponseWriter, r *http.Request) {
			clearDeadlines(w)
			handler.ServeHTTP(w, r)
		})
	}
	handle("Echo", connect.NewUnaryHandler(standInService+"Echo", echo, options...))
	handle("Environment", connect.NewUnaryHandler(standInService+"Environment", environment, options...))
	handle("Stream", connect.NewServerStreamHandler(standInService+"Stream", stream, options...))
}

// echo returns the message with a header and a trailer. The request header
// Standin-Trailer chooses the trailer's value, Standin-Delay a time to wait
// and Standin-Error the code of an error to answer with.
func echo(
	ctx context.Context, request *connect.Request[structpb.Struct],
) (*connect.Response[structpb.Struct], error) {
	if err := wait(ctx, request.Header().Get(delayName)); err != nil {
		return nil, err
	}
	trailer := request.Header().Get(trailerName)
	if trailer == "" {
		trailer = "end"
	}
	if text := request.Header().Get(errorName); text != "" {
		var code connect.Code
		if err := code.UnmarshalText([]byte(text)); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		failure := connect.NewError(code, errors.New("stand-in: ordered to fail"))
		failure.Meta().Set(trailerName, trailer)
		return nil, failure
	}
	response := connect.NewResponse(request.Msg)
	response.Header().Set(headerName, "begin")
	response.Trailer().Set(trailerName, trailer)
	return response, nil
}

// stream sends count messages, one every interval_ms, each with its index, the
// time and pad_bytes of padding, and ends with a trailer.
func stream(
	ctx context.Context, request *connect.Request[structpb.Struct], out *connect.ServerStream[structpb.Struct],
) error {
	fields := request.Msg.GetFields()
	count := int(fields["count"].GetNumberValue())
	interval := time.Duration(fields["interval_ms"].GetNumberValue() * float64(time.Millisecond))
	padding := strings.Repeat("x", max(0, int(fields["pad_bytes"].GetNumberValue())))
	out.ResponseHeader().Set(headerName, "begin")
	out.ResponseTrailer().Set(trailerName, "end")
	for i := range count {
		if i > 0 {
			if err := wait(ctx, interval.String()); err != nil {
				return err
			}
		}
		if err := out.Send(streamMessage(i, padding)); err != nil {
			return err
		}
	}
	return nil
}

// streamMessage is the message number i.
func streamMessage(i int, padding string) *structpb.Struct {
	fields := map[string]*structpb.Value{
		"index": structpb.NewNumberValue(float64(i)),
		"time":  structpb.NewStringValue(time.Now().UTC().Format(time.RFC3339Nano)),
	}
	if padding != "" {
		fields["pad"] = structpb.NewStringValue(padding)
	}
	return &structpb.Struct{Fields: fields}
}

// environment returns the environment the process was started with, byte for
// byte: "raw" is /proc/self/environ in base64, "entries" its entries in their
// order, each in base64.
func environment(
	context.Context, *connect.Request[structpb.Struct],
) (*connect.Response[structpb.Struct], error) {
	raw, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		return nil, connect.NewError(connect.CodeInternal, err)
	}
	entries := &structpb.ListValue{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(string(raw), "\x00"), "\x00") {
		coded := base64.StdEncoding.EncodeToString([]byte(entry))
		entries.Values = append(entries.Values, structpb.NewStringValue(coded))
	}
	return connect.NewResponse(&structpb.Struct{Fields: map[string]*structpb.Value{
		"entries": structpb.NewListValue(entries),
		"raw":     structpb.NewStringValue(base64.StdEncoding.EncodeToString(raw)),
	}}), nil
}

// wait pauses for the duration the text gives, if any.
func wait(ctx context.Context, text string) error {
	if text == "" {
		return nil
	}
	duration, err := parseDuration(text)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
