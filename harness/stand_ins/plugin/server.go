package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"

	"finfocus-plugin-standin/finfocusv1/finfocusv1connect"
)

// Limits of the real plugin's server.
const (
	maxBody           = 1 << 20
	maxGRPCMessage    = 4 << 20
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 120 * time.Second
	shutdownTimeout   = 30 * time.Second
)

// serve answers requests until a signal ends it and returns the exit code.
func (a *app) serve(listener net.Listener, stops <-chan os.Signal) int {
	web := envTrue("FINFOCUS_PLUGIN_WEB_ENABLED")
	server := a.newServer(web)
	if web {
		a.log.Info().Msg("web serving enabled with multi-protocol support")
	}
	failed, told := make(chan error, 1), 0
	go func() { failed <- server.Serve(listener) }()
	for {
		select {
		case err := <-failed:
			a.log.Error().Err(err).Msg("server error")
			return exitFailure
		case <-stops:
			a.log.Info().Msg("received shutdown signal")
			order := a.faults.currentSigterm()
			if told++; order.ignore || told <= order.lost {
				continue
			}
			time.Sleep(order.delay)
			return a.shutdown(server, order.code)
		}
	}
}

// shutdown ends the server in the graceful way.
func (a *app) shutdown(server *http.Server, code int) int {
	limit, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(limit); errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn().Msg("stand-in: requests still open at the end")
	}
	return code
}

// newServer makes the server for either mode: with web, HTTP/1.1 and HTTP/2
// without TLS on one port; without, gRPC alone.
func (a *app) newServer(web bool) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(web)
	protocols.SetUnencryptedHTTP2(true)
	handler := a.gated(a.routes(web))
	if web {
		handler = limitBody(handler)
	} else {
		handler = onlyGRPC(handler)
	}
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    1 << 20,
	}
}

// routes is everything the stand-in answers.
func (a *app) routes(web bool) http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{}
	if !web {
		options = append(options, connect.WithReadMaxBytes(maxGRPCMessage))
	}
	costs := &costSource{app: a}
	mux.Handle(finfocusv1connect.NewCostSourceServiceHandler(costs, options...))
	for _, method := range unimplementedMethods {
		mux.Handle(unimplemented(method, options...))
	}
	if web {
		checker := grpchealth.NewStaticChecker(finfocusv1connect.CostSourceServiceName)
		mux.Handle(grpchealth.NewHandler(checker, options...))
	}
	if web && envTrue("FINFOCUS_PLUGIN_HEALTH_ENDPOINT") {
		mux.HandleFunc("/healthz", a.healthz)
	}
	registerStandIn(mux, options...)
	mux.HandleFunc("GET /standin", a.describe)
	mux.HandleFunc("POST /standin/echo", echoHTTP)
	mux.Handle("POST /standin/fault", a.faults)
	return mux
}

// gated applies the ordered mode to every request but the orders themselves.
func (a *app) gated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/standin/fault" && !a.faults.requests.pass(w, r) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limitBody refuses bodies over 1 MB.
func limitBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > maxBody {
			http.Error(w, "payload too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// onlyGRPC refuses everything that is neither gRPC nor an order to the
// stand-in.
func onlyGRPC(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := r.Header.Get("Content-Type")
		grpc := kind == "application/grpc" || strings.HasPrefix(kind, "application/grpc+")
		if !grpc && r.URL.Path != "/standin" && !strings.HasPrefix(r.URL.Path, "/standin/") {
			http.Error(w, "gRPC only", http.StatusUnsupportedMediaType)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// healthz answers the health check.
func (a *app) healthz(w http.ResponseWriter, r *http.Request) {
	if a.faults.health.pass(w, r) {
		_, _ = io.WriteString(w, "ok")
	}
}

// describe says that this is a stand-in, and which.
func (a *app) describe(w http.ResponseWriter, _ *http.Request) {
	health, _ := a.faults.health.current()
	requests, _ := a.faults.requests.current()
	prices := map[string]int{}
	for service, index := range a.prices {
		prices[service] = len(index)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"stand_in":      true,
		"region":        a.region,
		"pid":           os.Getpid(),
		"ppid":          os.Getppid(),
		"version":       version,
		"health":        health,
		"requests":      requests,
		"grandchildren": a.faults.children(),
		"prices":        prices,
	})
}

// echoHTTP returns the body, what it saw of the request and a trailer.
func echoHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	seen, _ := json.Marshal(r.Header)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", trailerName)
	w.Header().Set("Standin-Proto", r.Proto)
	w.Header().Set("Standin-Host", r.Host)
	w.Header().Set("Standin-Url", r.URL.String())
	w.Header().Set("Standin-Headers", string(seen))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
	w.Header().Set(trailerName, fmt.Sprintf("%d bytes", len(body)))
}
