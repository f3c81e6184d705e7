// Command go-collector reads Netra's spans from a netra-otel-bridge and sends them to an OpenTelemetry Collector.
//
// It stores the resume token, or acknowledges the batch, only after the Collector has answered. Wherever it stops or
// breaks, it sends again at most what was in flight.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/go-collector/bridgev1"
)

//go:generate protoc -I ../../proto --go_out=. --go-grpc_out=. --go_opt=module=example.com/go-collector --go-grpc_opt=module=example.com/go-collector --go_opt=Mnetra_otel_bridge/v1/bridge.proto=example.com/go-collector/bridgev1 --go-grpc_opt=Mnetra_otel_bridge/v1/bridge.proto=example.com/go-collector/bridgev1 netra_otel_bridge/v1/bridge.proto

const usage = `go-collector pull -from TIME [-until TIME] [-resume FILE]   copy a range of time, once
go-collector follow [-subscription NAME] [-since TIME]      copy live spans, until SIGTERM
go-collector pull|follow -h                                 all flags

Times are RFC 3339. NETRA_BRIDGE_GRPC_TOKEN is the token of the bridge.
`

// Exit codes. An error that ends the program early is exitError.
const (
	exitDone    = 0
	exitError   = 1
	exitUsage   = 2
	exitPartial = 3
	exitAgain   = 75
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(arguments []string) int {
	if len(arguments) == 0 || (arguments[0] != "pull" && arguments[0] != "follow") {
		fmt.Fprint(os.Stderr, usage)
		return exitUsage
	}
	command := arguments[0]
	flags := flag.NewFlagSet("go-collector "+command, flag.ContinueOnError)
	var bridge, collector endpoint
	bridge.flags(flags, "bridge", "127.0.0.1:9465")
	collector.flags(flags, "collector", "127.0.0.1:4317")
	tenant := flags.String("tenant", "", "only the traces of this tenant")
	var profile profileFlag
	flags.Var(&profile, "profile", "which attributes are added: raw, genai, openinference, both (default: the bridge's setting)")
	var from, until timeFlag
	var resume, subscription string
	if command == "pull" {
		flags.Var(&from, "from", "where the range begins")
		flags.Var(&until, "until", "where the range ends (default: now)")
		flags.StringVar(&resume, "resume", "resume-token", "the file that holds the resume token; use one for each range")
	} else {
		flags.Var(&from, "since", "where a new subscription begins (default: now)")
		flags.StringVar(&subscription, "subscription", "go-collector", "the name under which the bridge stores progress")
	}
	if err := flags.Parse(arguments[1:]); errors.Is(err, flag.ErrHelp) {
		return exitDone
	} else if err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unexpected argument %q\n", flags.Arg(0))
		return exitUsage
	}
	if command == "pull" && from.Timestamp == nil {
		fmt.Fprintln(os.Stderr, "-from is missing: say where the range begins, such as 2026-01-31T00:00:00Z")
		return exitUsage
	}

	bridge.token = os.Getenv("NETRA_BRIDGE_GRPC_TOKEN")
	bridgeConnection, err := bridge.dial()
	if err != nil {
		return failed(err)
	}
	defer bridgeConnection.Close()
	collectorConnection, err := collector.dial()
	if err != nil {
		return failed(err)
	}
	defer collectorConnection.Close()

	client := bridgev1.NewBridgeServiceClient(bridgeConnection)
	receiver := newReceiver(collectorConnection)
	query := &bridgev1.TraceQuery{TenantId: *tenant}
	stop, done := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer done()
	if command == "pull" {
		timeRange := &bridgev1.TimeRange{StartTime: from.Timestamp, EndTime: until.Timestamp}
		err = pull(stop, client, receiver, &bridgev1.ReadSpansRequest{
			What:    &bridgev1.ReadSpansRequest_Range{Range: timeRange},
			Query:   query,
			Profile: profile.Profile,
		}, resume)
	} else {
		err = follow(stop, client, receiver, &bridgev1.FollowStart{
			Subscription: subscription,
			StartTime:    from.Timestamp,
			Query:        query,
			Profile:      profile.Profile,
		})
	}
	stopped := errors.Is(err, context.Canceled)
	slog.Info("ended", "spans", receiver.spans, "rejected", receiver.rejected, "problems", receiver.problems)
	switch {
	case stopped && command == "pull":
		slog.Info("stopped before the end; start it again to resume")
		return exitAgain
	case err != nil && !stopped:
		return failed(err)
	case receiver.rejected > 0 || receiver.problems > 0:
		return exitPartial
	}
	return exitDone
}

func failed(err error) int {
	slog.Error(err.Error())
	return exitError
}

// timeFlag is a flag for a time in RFC 3339. If it is not set, the timestamp is nil.
type timeFlag struct{ *timestamppb.Timestamp }

func (f *timeFlag) String() string {
	if f.Timestamp == nil {
		return ""
	}
	return f.AsTime().Format(time.RFC3339Nano)
}

func (f *timeFlag) Set(text string) error {
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New("a time looks like 2026-01-31T00:00:00Z")
	}
	f.Timestamp = timestamppb.New(parsed)
	return nil
}

// profileFlag is a flag for a profile, by the names that the bridge's own commands use.
type profileFlag struct{ bridgev1.Profile }

func (f *profileFlag) String() string { return "" }

func (f *profileFlag) Set(text string) error {
	value, known := bridgev1.Profile_value["PROFILE_"+strings.ToUpper(text)]
	if !known || value == 0 {
		return errors.New("use raw, genai, openinference or both")
	}
	f.Profile = bridgev1.Profile(value)
	return nil
}
