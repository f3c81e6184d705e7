package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc/codes"

	"example.com/go-collector/bridgev1"
)

// goodbye is how long the bridge may take to record the last acknowledgements.
const goodbye = 5 * time.Second

// follow copies live spans until stop is done. The bridge remembers what was acknowledged.
func follow(
	stop context.Context,
	bridge bridgev1.BridgeServiceClient,
	collector *receiver,
	start *bridgev1.FollowStart,
) error {
	return untilDone(stop, func(pause *pause) error {
		return followStream(stop, bridge, collector, start, pause)
	})
}

// followStream reads one stream and acknowledges each batch once the Collector has answered.
func followStream(
	stop context.Context,
	bridge bridgev1.BridgeServiceClient,
	collector *receiver,
	start *bridgev1.FollowStart,
	pause *pause,
) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := bridge.FollowSpans(ctx)
	if err != nil {
		return &brokenError{readFailure(err)}
	}
	batches := make(chan *bridgev1.FollowSpansResponse)
	ended := make(chan error, 1)
	go func() {
		for {
			batch, err := stream.Recv()
			if err != nil {
				ended <- err
				return
			}
			select {
			case batches <- batch:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := send(stream, &bridgev1.FollowSpansRequest{
		Message: &bridgev1.FollowSpansRequest_Start{Start: start},
	}); err != nil {
		return err
	}
	for {
		select {
		case <-stop.Done():
			return leave(stream, ended)
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return &brokenError{failure{code: codes.Unavailable, message: "the bridge ended the stream"}}
			}
			return &brokenError{readFailure(err)}
		case batch := <-batches:
			if err := collector.deliver(stop, batch.GetTracesData()); err != nil {
				return errors.Join(err, leave(stream, ended))
			}
			if err := send(stream, &bridgev1.FollowSpansRequest{
				Message: &bridgev1.FollowSpansRequest_Ack{Ack: &bridgev1.FollowAck{Batch: batch.GetBatch()}},
			}); err != nil {
				return err
			}
			pause.reset()
		}
	}
}

type followStreamClient = interface {
	Send(*bridgev1.FollowSpansRequest) error
	CloseSend() error
}

// send sends a message. The receiving side learns why a stream broke, so io.EOF is not an error here.
func send(stream followStreamClient, message *bridgev1.FollowSpansRequest) error {
	if err := stream.Send(message); err != nil && !errors.Is(err, io.EOF) {
		return &brokenError{readFailure(err)}
	}
	return nil
}

// leave tells the bridge that no more acknowledgements follow, and gives it time to record those it received.
func leave(stream followStreamClient, ended <-chan error) error {
	if err := stream.CloseSend(); err != nil {
		return nil
	}
	select {
	case <-ended:
	case <-time.After(goodbye):
	}
	return nil
}
