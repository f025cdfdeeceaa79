// Command vault-pki serves the PKI engine of Vault, as it is, under /v1/pki/: what Vault itself has besides takes twenty times as long to build.
// Its storage is a directory, so that it comes back with the keys and roles that it had.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/pki"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
)

const mount = "/v1/pki/"

type server struct {
	engine  logical.Backend
	storage logical.Storage
	token   string
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "address")
	directory := flag.String("storage", "", "directory of what it keeps")
	token := flag.String("token", "", "what a caller has to show")
	flag.Parse()
	disk, err := file.NewFileBackend(map[string]string{"path": *directory}, hclog.NewNullLogger())
	if err != nil {
		log.Fatal(err)
	}
	storage := logical.NewLogicalStorage(disk)
	engine, err := open(context.Background(), storage)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	http.Handle(mount, &server{engine, storage, *token})
	log.Fatal(http.Serve(listener, nil))
}

func open(ctx context.Context, storage logical.Storage) (logical.Backend, error) {
	engine, err := pki.Factory(ctx, &logical.BackendConfig{
		Logger:      hclog.NewNullLogger(),
		StorageView: storage,
		BackendUUID: "7b2f1ab2-5d3c-4f54-9a3d-3a4b0d6d6f10",
		System: &logical.StaticSystemView{
			DefaultLeaseTTLVal: 24 * time.Hour,
			MaxLeaseTTLVal:     10 * 365 * 24 * time.Hour,
		},
	})
	if err != nil {
		return nil, err
	}
	return engine, engine.Initialize(ctx, &logical.InitializationRequest{Storage: storage})
}

// ServeHTTP does with a request what Vault does between its listener and the engine.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, mount)
	if path != "ca/pem" && r.Header.Get("X-Vault-Token") != s.token {
		refuse(w, http.StatusForbidden, "permission denied")
		return
	}
	request := &logical.Request{
		Operation: logical.ReadOperation, Path: path, Storage: s.storage,
		MountPoint: "pki/", ClientToken: s.token,
	}
	if r.Method != http.MethodGet {
		request.Operation = logical.UpdateOperation
		if err := json.NewDecoder(r.Body).Decode(&request.Data); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
	}
	response, err := s.engine.HandleRequest(r.Context(), request)
	if err == nil && response.IsError() {
		err = response.Error()
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, response)
}

func answer(w http.ResponseWriter, response *logical.Response) {
	if response == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if body, ok := response.Data[logical.HTTPRawBody].([]byte); ok {
		w.Write(body)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"data": response.Data, "warnings": response.Warnings})
}

func refuse(w http.ResponseWriter, status int, reason string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"errors": []string{reason}})
}
