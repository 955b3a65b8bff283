package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func serve() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.CustomCodec(raw{}), grpc.UnknownServiceHandler(handle), grpc.MaxConcurrentStreams(100))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		server.GracefulStop()
	}()
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

func handle(_ interface{}, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	incoming, _ := metadata.FromIncomingContext(stream.Context())
	if text := incoming.Get("x-echo"); len(text) > 0 {
		if err := stream.SendHeader(metadata.Pairs("x-echo", text[0])); err != nil {
			return err
		}
	}
	if octets := incoming.Get("x-echo-bin"); len(octets) > 0 {
		stream.SetTrailer(metadata.Pairs("x-echo-bin", octets[0]))
	}
	switch method {
	case "/peer.Peer/Echo":
		return eachMessage(stream, func(message []byte) error { return stream.SendMsg(&message) })
	case "/peer.Peer/Fail":
		return status.Error(codes.NotFound, "nothing here: ☃ 100%")
	case "/peer.Peer/Count":
		count := 0
		err := eachMessage(stream, func([]byte) error {
			count++
			return nil
		})
		if err != nil {
			return err
		}
		answer := []byte(strconv.Itoa(count))
		return stream.SendMsg(&answer)
	case "/peer.Peer/Repeat":
		return eachMessage(stream, func(message []byte) error { return repeat(stream, message) })
	case "/peer.Peer/Slow":
		return eachMessage(stream, func(message []byte) error {
			for at := 0; at < 10; at++ {
				time.Sleep(20 * time.Millisecond)
				if err := stream.SendMsg(&message); err != nil {
					return err
				}
			}
			return nil
		})
	case "/echo.v1.EchoService/Echo":
		return eachMessage(stream, func(message []byte) error {
			time.Sleep(50 * time.Millisecond)
			return stream.SendMsg(&message)
		})
	case "/echo.v1.EchoService/Hang":
		// As many handlers do, it heeds neither a cancel nor its deadline.
		time.Sleep(20 * time.Second)
		return nil
	case "/peer.Peer/Wait":
		<-stream.Context().Done()
		fmt.Println("cancelled")
		return status.FromContextError(stream.Context().Err()).Err()
	}
	return status.Error(codes.Unimplemented, method)
}

// repeat sends the message a thousand times.
func repeat(stream grpc.ServerStream, message []byte) error {
	for at := 0; at < 1000; at++ {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

func eachMessage(stream grpc.ServerStream, take func([]byte) error) error {
	for {
		var message []byte
		err := stream.RecvMsg(&message)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = take(message)
		}
		if err != nil {
			return err
		}
	}
}
