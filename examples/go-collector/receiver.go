package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
)

// exportTimeout is the default time limit of an OTLP exporter.
const exportTimeout = 10 * time.Second

// receiver is the Collector, with counts of what was sent to it.
type receiver struct {
	client                    collectorpb.TraceServiceClient
	spans, rejected, problems int64
}

func newReceiver(connection grpc.ClientConnInterface) *receiver {
	return &receiver{client: collectorpb.NewTraceServiceClient(connection)}
}

// deliver sends these spans and returns nil once the Collector has answered. It retries as long as OTLP allows. If stop
// is done while a request is in flight, it still waits for the answer.
func (r *receiver) deliver(stop context.Context, data *tracepb.TracesData) error {
	count := countSpans(data)
	if count == 0 {
		return nil
	}
	request := &collectorpb.ExportTraceServiceRequest{ResourceSpans: data.GetResourceSpans()}
	var pause pause
	for {
		answer, err := r.export(request)
		if err == nil {
			r.spans += count
			if partial := answer.GetPartialSuccess(); partial.GetRejectedSpans() > 0 {
				r.rejected += partial.GetRejectedSpans()
				slog.Error("the Collector rejected spans", "count", partial.GetRejectedSpans(), "why", partial.GetErrorMessage())
			}
			return nil
		}
		cause := readFailure(err)
		if !cause.mayResend() {
			return fmt.Errorf("the Collector rejected %d spans, which are not acknowledged: %s", count, cause)
		}
		if err := pause.wait(stop, "collector", cause); err != nil {
			return err
		}
	}
}

func (r *receiver) export(request *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), exportTimeout)
	defer cancel()
	return r.client.Export(ctx, request)
}

func countSpans(data *tracepb.TracesData) (count int64) {
	for _, resource := range data.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			count += int64(len(scope.GetSpans()))
		}
	}
	return count
}
