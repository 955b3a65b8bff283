package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/ioutil"
	"net/http"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// What came of a scenario, for the test to look at.
type outcome map[string]interface{}

type scenario func(connection *grpc.ClientConn) (outcome, error)

var scenarios = map[string]scenario{
	"unary":         unary,
	"status":        failing,
	"serverStream":  serverStream,
	"clientStream":  clientStream,
	"bothWays":      bothWays,
	"deadline":      deadline,
	"cancel":        cancel,
	"gzip":          gzipped,
	"big":           big,
	"crowd":         crowd,
	"slow":          slow,
	"untilStopped":  untilStopped,
	"earlyAnswer":   earlyAnswer,
	"earlyUploads":  earlyUploads,
	"unimplemented": unimplemented,
}

// call speaks TLS when CA names a file of certificates.
func call(address, name string) error {
	if name == "http" {
		return callHTTP(address)
	}
	security := grpc.WithInsecure()
	if config, err := trust(); err != nil {
		return err
	} else if config != nil {
		security = grpc.WithTransportCredentials(credentials.NewTLS(config))
	}
	connection, err := grpc.Dial(address, security, grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(16<<20)))
	if err != nil {
		return err
	}
	defer connection.Close()
	run, known := scenarios[name]
	if !known {
		return fmt.Errorf("no scenario %s", name)
	}
	result, err := run(connection)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func trust() (*tls.Config, error) {
	file := os.Getenv("CA")
	if file == "" {
		return nil, nil
	}
	certificates, err := ioutil.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificates)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}, nil
}

func text(size int) []byte { return bytes.Repeat([]byte("x"), size) }

func echo(connection *grpc.ClientConn, size int, options ...grpc.CallOption) error {
	message, answer := text(size), []byte(nil)
	if err := connection.Invoke(context.Background(), "/peer.Peer/Echo", &message, &answer, options...); err != nil {
		return err
	}
	if !bytes.Equal(message, answer) {
		return fmt.Errorf("%d octets came back as %d", len(message), len(answer))
	}
	return nil
}

func unary(connection *grpc.ClientConn) (outcome, error) {
	for _, size := range []int{0, 20, 20, 100_000} {
		if err := echo(connection, size); err != nil {
			return nil, err
		}
	}
	message, answer := text(1), []byte(nil)
	var header, trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(context.Background(), "x-echo", "hello", "x-echo-bin", "\x00\xff")
	err := connection.Invoke(ctx, "/peer.Peer/Echo", &message, &answer, grpc.Header(&header), grpc.Trailer(&trailer))
	return outcome{"header": header.Get("x-echo"), "trailer": []byte(trailer.Get("x-echo-bin")[0])}, err
}

func failing(connection *grpc.ClientConn) (outcome, error) {
	return failure(context.Background(), connection, "/peer.Peer/Fail")
}

func unimplemented(connection *grpc.ClientConn) (outcome, error) {
	return failure(context.Background(), connection, "/peer.Peer/None")
}

func failure(ctx context.Context, connection *grpc.ClientConn, method string) (outcome, error) {
	message, answer := text(1), []byte(nil)
	failed := status.Convert(connection.Invoke(ctx, method, &message, &answer))
	return outcome{"code": failed.Code().String(), "message": failed.Message()}, nil
}

func deadline(connection *grpc.ClientConn) (outcome, error) {
	ctx, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer stop()
	return failure(ctx, connection, "/peer.Peer/Wait")
}

func cancel(connection *grpc.ClientConn) (outcome, error) {
	ctx, stop := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, stop)
	return failure(ctx, connection, "/peer.Peer/Wait")
}

func gzipped(connection *grpc.ClientConn) (outcome, error) {
	for _, size := range []int{0, 20, 1_000_000} {
		if err := echo(connection, size, grpc.UseCompressor(gzip.Name)); err != nil {
			return nil, err
		}
	}
	return outcome{}, nil
}

func big(connection *grpc.ClientConn) (outcome, error) {
	if err := echo(connection, 4_000_000); err != nil {
		return nil, err
	}
	tooBig := status.Convert(echo(connection, 5_000_000))
	return outcome{"code": tooBig.Code().String()}, echo(connection, 20)
}

func open(connection *grpc.ClientConn, method string) (grpc.ClientStream, error) {
	description := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	return connection.NewStream(context.Background(), description, method)
}

// exchange sends messages, ends, and counts the answers.
func exchange(connection *grpc.ClientConn, method string, messages ...[]byte) (int, []byte, error) {
	stream, err := open(connection, method)
	if err != nil {
		return 0, nil, err
	}
	for at := range messages {
		if err := stream.SendMsg(&messages[at]); err != nil {
			break
		}
	}
	if err := stream.CloseSend(); err != nil {
		return 0, nil, err
	}
	count, last := 0, []byte(nil)
	for {
		if err := stream.RecvMsg(&last); err == io.EOF {
			return count, last, nil
		} else if err != nil {
			return count, last, err
		}
		count++
	}
}

func serverStream(connection *grpc.ClientConn) (outcome, error) {
	count, last, err := exchange(connection, "/peer.Peer/Repeat", text(1000))
	return outcome{"count": count, "octets": len(last)}, err
}

func clientStream(connection *grpc.ClientConn) (outcome, error) {
	messages := make([][]byte, 1000)
	for at := range messages {
		messages[at] = text(1000)
	}
	_, last, err := exchange(connection, "/peer.Peer/Count", messages...)
	return outcome{"counted": string(last)}, err
}

func bothWays(connection *grpc.ClientConn) (outcome, error) {
	stream, err := open(connection, "/peer.Peer/Echo")
	if err != nil {
		return nil, err
	}
	for at := 0; at < 200; at++ {
		message, answer := text(at), []byte(nil)
		if err := stream.SendMsg(&message); err != nil {
			return nil, err
		}
		if err := stream.RecvMsg(&answer); err != nil {
			return nil, err
		}
		if len(answer) != at {
			return nil, fmt.Errorf("%d octets came back as %d", at, len(answer))
		}
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var end []byte
	if err := stream.RecvMsg(&end); err != io.EOF {
		return nil, fmt.Errorf("the stream ended with %v", err)
	}
	return outcome{}, nil
}

// earlyAnswer goes on sending on streams that the server has answered; the connection must survive many of them.
func earlyAnswer(connection *grpc.ClientConn) (outcome, error) {
	for round := 0; round < 300; round++ {
		stream, err := open(connection, "/peer.Peer/Fail")
		if err != nil {
			return nil, err
		}
		for at := 0; at < 3; at++ {
			message := text(100)
			if stream.SendMsg(&message) != nil {
				break
			}
		}
		var answer []byte
		if code := status.Code(stream.RecvMsg(&answer)); code.String() != "NotFound" {
			return nil, fmt.Errorf("round %d ended with %v", round, code)
		}
	}
	return outcome{}, echo(connection, 20)
}

// earlyUploads sends messages that do not fit the window of their streams to a method that answers before it has them.
func earlyUploads(connection *grpc.ClientConn) (outcome, error) {
	var group sync.WaitGroup
	var lock sync.Mutex
	codes := outcome{}
	for at := 0; at < 200; at++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for call := 0; call < 5; call++ {
				message, answer := text(200_000), []byte(nil)
				err := connection.Invoke(context.Background(), "/peer.Peer/Fail", &message, &answer)
				lock.Lock()
				count, _ := codes[status.Code(err).String()].(int)
				codes[status.Code(err).String()] = count + 1
				lock.Unlock()
			}
		}()
	}
	group.Wait()
	return codes, nil
}

func crowd(connection *grpc.ClientConn) (outcome, error) {
	var group sync.WaitGroup
	failures := make(chan error, 200)
	for at := 0; at < 200; at++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for call := 0; call < 20; call++ {
				if err := echo(connection, 1000); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	group.Wait()
	close(failures)
	if err, failed := <-failures; failed {
		return nil, err
	}
	return outcome{"calls": 4000}, nil
}

// slow tells when its first message has come, so that the server can be stopped meanwhile.
func slow(connection *grpc.ClientConn) (outcome, error) {
	stream, err := open(connection, "/peer.Peer/Slow")
	if err != nil {
		return nil, err
	}
	message := text(10)
	if err := stream.SendMsg(&message); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	for count := 0; ; count++ {
		if err := stream.RecvMsg(&message); err == io.EOF {
			return outcome{"count": count}, nil
		} else if err != nil {
			return nil, err
		}
		if count == 0 {
			fmt.Fprintln(os.Stderr, "begun")
		}
	}
}

// untilStopped calls without a pause until its input ends; no call may fail, whichever server takes it.
func untilStopped(connection *grpc.ClientConn) (outcome, error) {
	stopped := make(chan struct{})
	go func() {
		io.Copy(ioutil.Discard, os.Stdin)
		close(stopped)
	}()
	for calls := 0; ; calls++ {
		select {
		case <-stopped:
			return outcome{"calls": calls}, nil
		default:
		}
		if err := echo(connection, 100, grpc.WaitForReady(true)); err != nil {
			return nil, fmt.Errorf("call %d: %v", calls, err)
		}
		if calls == 0 {
			fmt.Fprintln(os.Stderr, "begun")
		}
	}
}

// callHTTP makes requests through net/http, which before Go 1.20 acknowledges SETTINGS_HEADER_TABLE_SIZE and ignores it.
func callHTTP(address string) error {
	config, err := trust()
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}}
	protocol := ""
	for round := 0; round < 20; round++ {
		body := text(round * 10_000)
		request, err := http.NewRequest("POST", "https://"+address+"/", bytes.NewReader(body))
		if err != nil {
			return err
		}
		request.Header.Set("x-round", fmt.Sprint(round))
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		answer, err := ioutil.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		if !bytes.Equal(body, answer) {
			return fmt.Errorf("%d octets came back as %d", len(body), len(answer))
		}
		protocol = response.Proto
	}
	return json.NewEncoder(os.Stdout).Encode(outcome{"protocol": protocol})
}
