package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// bridgeDomain is the domain of every ErrorInfo of the bridge.
const bridgeDomain = "netra-otel-bridge"

// failure is the error of a call, with its google.rpc details.
type failure struct {
	code                  codes.Code
	message, reason, hint string
	retry                 *time.Duration
}

func readFailure(err error) failure {
	answer := status.Convert(err)
	found := failure{code: answer.Code(), message: answer.Message()}
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == bridgeDomain {
				found.reason, found.hint = detail.GetReason(), detail.GetMetadata()["hint"]
			}
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay().AsDuration()
			found.retry = &delay
		}
	}
	return found
}

func (f failure) String() string {
	text := fmt.Sprintf("%s: %s", f.code, f.message)
	if f.reason != "" {
		text = fmt.Sprintf("%s (%s)", text, f.reason)
	}
	if f.hint != "" {
		text += "; " + f.hint
	}
	return text
}

// brokenError reports that a stream of the bridge broke off.
type brokenError struct{ cause failure }

func (e *brokenError) Error() string { return "the bridge: " + e.cause.String() }

// untilDone reopens a stream as long as that may help and stop is not done.
func untilDone(stop context.Context, stream func(*pause) error) error {
	var pause pause
	for {
		err := stream(&pause)
		var broken *brokenError
		if !errors.As(err, &broken) {
			return err
		}
		if stop.Err() != nil {
			return stop.Err()
		}
		if !broken.cause.isTransient() {
			return broken
		}
		if err := pause.wait(stop, "bridge", broken.cause); err != nil {
			return err
		}
	}
}

// isTransient reports whether to reopen a stream of the bridge. An error without a reason does not come from the bridge
// itself: the connection broke, nothing is listening, or the server is too busy even to reject the call. If a
// subscription was taken over, leave it to the other client: two clients that both resume take it from each other
// forever.
func (f failure) isTransient() bool {
	if f.reason == "TAKEN_OVER" {
		return false
	}
	if f.reason != "" {
		return f.retry != nil || f.reason == "READER_STALLED"
	}
	switch f.code {
	case codes.Unavailable, codes.Canceled, codes.Internal, codes.ResourceExhausted:
		return true
	}
	return false
}

// mayResend reports whether OTLP allows sending the same request again.
func (f failure) mayResend() bool {
	switch f.code {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return true
	case codes.ResourceExhausted:
		return f.retry != nil
	}
	return false
}

const (
	firstDelay = 200 * time.Millisecond
	maxDelay   = 30 * time.Second
)

// pause waits longer each time, and never less than the server asked for.
type pause struct{ delay time.Duration }

// reset makes the next wait short again, after a success.
func (p *pause) reset() { p.delay = 0 }

// wait waits, or returns the error of stop if that is done first.
func (p *pause) wait(stop context.Context, where string, cause failure) error {
	p.delay = min(max(2*p.delay, firstDelay), maxDelay)
	delay := p.delay/2 + rand.N(p.delay/2)
	if cause.retry != nil {
		delay = max(delay, *cause.retry)
	}
	slog.Warn("trying again", "where", where, "in", delay.Round(time.Millisecond), "cause", cause.String())
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-stop.Done():
		return stop.Err()
	case <-timer.C:
		return nil
	}
}
