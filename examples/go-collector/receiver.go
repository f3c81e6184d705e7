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

// exportTimeout is what an OTLP exporter waits for an answer by default.
const exportTimeout = 10 * time.Second

// receiver is the Collector, and the counts of what it was handed.
type receiver struct {
	client                   collectorpb.TraceServiceClient
	spans, refused, problems int64
}

func newReceiver(connection grpc.ClientConnInterface) *receiver {
	return &receiver{client: collectorpb.NewTraceServiceClient(connection)}
}

// deliver returns nil once the Collector has answered for these spans. It tries as long as OTLP allows; an answer that
// is waited for when stop is done is still waited for.
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
				r.refused += partial.GetRejectedSpans()
				slog.Error("the Collector refused spans", "count", partial.GetRejectedSpans(), "why", partial.GetErrorMessage())
			}
			return nil
		}
		cause := readFailure(err)
		if !cause.mayResend() {
			return fmt.Errorf("the Collector does not take %d spans, which stay where they are: %s", count, cause)
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
