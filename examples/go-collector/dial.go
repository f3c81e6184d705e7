package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// endpoint is a gRPC server as the flags describe it. token is the credential it requires, or empty.
type endpoint struct {
	address, ca, token string
	tls                bool
}

func (e *endpoint) flags(flags *flag.FlagSet, name, address string) {
	flags.StringVar(&e.address, name, address, "where the "+name+" is, HOST:PORT")
	flags.BoolVar(&e.tls, name+"-tls", false, "use TLS to the "+name+", with the certificate authorities of this machine")
	flags.StringVar(&e.ca, name+"-ca", "", "use TLS to the "+name+", with the certificate authorities in this PEM `file`")
}

func (e *endpoint) dial() (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	overTLS := e.tls || e.ca != ""
	if e.ca != "" {
		var err error
		if transport, err = credentials.NewClientTLSFromFile(e.ca, ""); err != nil {
			return nil, fmt.Errorf("the authorities in %s cannot be used: %w", e.ca, err)
		}
	} else if e.tls {
		transport = credentials.NewTLS(&tls.Config{})
	}
	reconnect := backoff.DefaultConfig
	reconnect.MaxDelay = 5 * time.Second
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		// Detect a silent peer within 40 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: 5 * time.Second}),
	}
	if e.token != "" {
		if !overTLS && !isLoopback(e.address) {
			return nil, fmt.Errorf("the token would go to %s in plain text: set -bridge-tls or -bridge-ca", e.address)
		}
		options = append(options, grpc.WithPerRPCCredentials(bearer{e.token, overTLS}))
	}
	return grpc.NewClient(e.address, options...)
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || net.ParseIP(host).IsLoopback())
}

// bearer sends a token with every call.
type bearer struct {
	token   string
	overTLS bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

func (b bearer) RequireTransportSecurity() bool { return b.overTLS }
