package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"example.com/go-collector/bridgev1"
)

// pull copies the spans of a range until all are copied. It resumes from the token in the file.
func pull(
	stop context.Context,
	bridge bridgev1.BridgeServiceClient,
	collector *receiver,
	request *bridgev1.ReadSpansRequest,
	file string,
) error {
	kept, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	request.ResumeToken = strings.TrimSpace(string(kept))
	return untilDone(stop, func(pause *pause) error {
		return pullStream(stop, bridge, collector, request, file, pause)
	})
}

// pullStream copies the spans of one stream. The request's token always marks what the Collector has answered for.
func pullStream(
	stop context.Context,
	bridge bridgev1.BridgeServiceClient,
	collector *receiver,
	request *bridgev1.ReadSpansRequest,
	file string,
	pause *pause,
) error {
	ctx, cancel := context.WithCancel(stop)
	defer cancel()
	stream, err := bridge.ReadSpans(ctx, request)
	if err != nil {
		return &brokenError{readFailure(err)}
	}
	for {
		response, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &brokenError{readFailure(err)}
		}
		if err := collector.deliver(stop, response.GetTracesData()); err != nil {
			return err
		}
		for _, problem := range response.GetProblems() {
			collector.problems++
			slog.Warn("missing", "what", problem)
		}
		if err := writeWhole(file, response.GetResumeToken()); err != nil {
			return fmt.Errorf("the resume token cannot be stored: %w", err)
		}
		request.ResumeToken = response.GetResumeToken()
		pause.reset()
	}
}

// writeWhole replaces a file atomically: after a crash it holds either the old text or the new text.
func writeWhole(name, text string) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".resume-*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	_, err = file.WriteString(text + "\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
