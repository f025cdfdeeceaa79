package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// called is one response, and who gave it.
type called struct {
	Status   int    `json:"status"`
	Body     string `json:"body"`
	Reason   string `json:"reason"`
	Peer     string `json:"peer"`
	Protocol string `json:"protocol"`
}

// call sends one request over the link.
func call(address, peer, protocol, destination, path string, files identityFiles) (*called, error) {
	own, err := load(files)
	if err != nil {
		return nil, err
	}
	config, err := own.client(peer, protocol)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: protocol == "h2"}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: timeout}
	request, err := http.NewRequest(http.MethodGet, "https://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	request.Host = "orders.shop"
	if destination != "" {
		request.Header.Set("X-Wherry-Destination", destination)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	return &called{
		Status:   response.StatusCode,
		Body:     string(body),
		Reason:   response.Header.Get("X-Wherry-Reason"),
		Peer:     peerOf(response.TLS),
		Protocol: response.TLS.NegotiatedProtocol,
	}, nil
}

// served is what a server of go-spiffe saw of a request: the body of its response.
type served struct {
	Caller      string `json:"caller"`
	Protocol    string `json:"protocol"`
	Method      string `json:"method"`
	Path        string `json:"path"`
	Destination string `json:"destination"`
}

// serve answers callers with the identity peer, until its standard input ends.
func serve(peer, protocol string, files identityFiles) error {
	own, err := load(files)
	if err != nil {
		return err
	}
	config, err := own.server(peer, protocol)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			err := json.NewEncoder(w).Encode(served{
				Caller:      peerOf(r.TLS),
				Protocol:    r.Proto,
				Method:      r.Method,
				Path:        r.URL.RequestURI(),
				Destination: r.Header.Get("X-Wherry-Destination"),
			})
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}),
		TLSConfig: config,
	}
	if protocol != "h2" {
		// An entry that is not nil keeps net/http from adding h2.
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	print(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return server.ServeTLS(listener, "", "")
}

// roles is an application in plaintext: it prints its port, and for each request its method, path and role.
func roles() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL.Path)
		if _, said := r.Header["X-Role"]; said {
			fmt.Println("role", r.Header.Get("X-Role"))
		}
		fmt.Fprint(w, "done")
	}))
}
