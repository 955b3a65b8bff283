// A gRPC client and server on grpc-go, and an HTTP client on net/http: peers of this library's server and client.
//
//	go-peer call ADDRESS SCENARIO   makes calls and prints what came of them as JSON
//	go-peer serve                   prints its address; SIGTERM stops it gracefully
//
// Built from Debian's packages alone: apt-get install golang-go golang-google-grpc-dev
package main

import (
	"fmt"
	"os"
)

// raw passes messages as they are.
type raw struct{}

func (raw) Marshal(value interface{}) ([]byte, error) { return *value.(*[]byte), nil }
func (raw) Unmarshal(octets []byte, value interface{}) error {
	*value.(*[]byte) = append([]byte(nil), octets...)
	return nil
}
func (raw) Name() string   { return "raw" }
func (raw) String() string { return "raw" }

func main() {
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "call":
		err = call(os.Args[2], os.Args[3])
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve()
	default:
		err = fmt.Errorf("go-peer call ADDRESS SCENARIO | serve")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
