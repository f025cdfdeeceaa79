// Command go-peer is a workload that is not ours: Go's crypto/tls and crypto/x509, and go-spiffe, against a control plane and a sidecar.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("usage: go-peer enrol|renew|call|serve|roles|parse FLAGS"))
	}
	command, arguments := os.Args[1], os.Args[2:]
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	files := identityFiles{}
	flags.StringVar(&files.certificate, "certificate", "", "PEM, leaf first")
	flags.StringVar(&files.key, "key", "", "PEM")
	flags.StringVar(&files.bundle, "bundle", "", "PEM roots")
	address := flags.String("address", "", "HOST:PORT")
	peer := flags.String("peer", "", "SPIFFE ID that the other end must have")
	alpn := flags.String("alpn", "h2", "h2 or http/1.1")
	destination := flags.String("destination", "", "x-wherry-destination")
	path := flags.String("path", "/", "of the request")
	token := flags.String("token", "", "enrolment token")
	name := flags.String("name", "", "instance name")
	if err := flags.Parse(arguments); err != nil {
		fail(err)
	}
	var result any
	var err error
	switch command {
	case "enrol":
		result, err = enrol(*address, *token, *name, *peer, files)
	case "renew":
		result, err = renew(*address, *peer, files)
	case "call":
		result, err = call(*address, *peer, *alpn, *destination, *path, files)
	case "serve":
		err = serve(*peer, *alpn, files)
	case "roles":
		err = roles()
	case "parse":
		result, err = parse(files.certificate)
	default:
		err = fmt.Errorf("no command %q", command)
	}
	if err != nil {
		fail(err)
	}
	print(result)
}

// print writes one line of JSON.
func print(value any) {
	if err := json.NewEncoder(os.Stdout).Encode(value); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
