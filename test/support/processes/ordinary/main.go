// An ordinary service in Go, and an ordinary caller: net/http as it comes.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
)

func main() {
	if len(os.Args) > 1 {
		call(os.Args[1])
		return
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	panic(http.Serve(listener, http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		response.Header().Set("x-path", request.URL.Path)
		// net/http reads no more of a request once its response has begun.
		body, _ := io.ReadAll(request.Body)
		response.Write(body)
	})))
}

// Goes through the proxy of its environment.
func call(url string) {
	for _, size := range []int{0, 100000} {
		response, err := http.Post(url, "text/plain", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", size))})
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			panic(err)
		}
		fmt.Println(response.StatusCode, len(body))
	}
}
