package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

const timeout = 10 * time.Second

// issued is what a control plane gave, as go-spiffe reads it.
type issued struct {
	ID           string `json:"id"`
	ControlPlane string `json:"controlPlane"`
	NotAfter     string `json:"notAfter"`
}

// enrol gets the first certificate, as a sidecar does: the token says which root to expect.
func enrol(address, token, name, controlPlane string, files identityFiles) (*issued, error) {
	expected, err := fingerprintOf(token)
	if err != nil {
		return nil, err
	}
	bundle, err := pinned(address, controlPlane, expected)
	if err != nil {
		return nil, err
	}
	id, err := spiffeid.FromString(controlPlane)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(id))
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{"h2"}
	key, request, err := newRequest()
	if err != nil {
		return nil, err
	}
	body := append(append(field(1, token), field(2, request)...), field(3, name)...)
	return issue(address, "Enrol", config, body, func(chain, roots string) (*identity, error) {
		return keep(files, key, chain, roots)
	})
}

// renew gets the next certificate with the one in use, over a connection to the control plane and nobody else.
func renew(address, controlPlane string, files identityFiles) (*issued, error) {
	own, err := load(files)
	if err != nil {
		return nil, err
	}
	config, err := own.client(controlPlane, "h2")
	if err != nil {
		return nil, err
	}
	key, request, err := newRequest()
	if err != nil {
		return nil, err
	}
	return issue(address, "Renew", config, field(1, request), func(chain, roots string) (*identity, error) {
		return keep(files, key, chain, roots)
	})
}

func issue(address, method string, config *tls.Config, request []byte, take func(chain, roots string) (*identity, error)) (*issued, error) {
	fields, peer, err := grpc(address, "/wherry.push.v1.Enrolment/"+method, config, request)
	if err != nil {
		return nil, err
	}
	own, err := take(fields[1], fields[2])
	if err != nil {
		return nil, err
	}
	return &issued{
		ID:           own.svid.ID.String(),
		ControlPlane: peer,
		NotAfter:     own.svid.Certificates[0].NotAfter.UTC().Format(time.RFC3339),
	}, nil
}

// pinned is the bundle with the root of that fingerprint, out of the chain that the server presents.
func pinned(address, controlPlane, fingerprint string) (*x509bundle.Bundle, error) {
	id, err := spiffeid.FromString(controlPlane)
	if err != nil {
		return nil, err
	}
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13})
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	for _, certificate := range connection.ConnectionState().PeerCertificates {
		sum := sha256.Sum256(certificate.Raw)
		if hex.EncodeToString(sum[:]) == fingerprint {
			text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
			return x509bundle.Parse(id.TrustDomain(), text)
		}
	}
	return nil, fmt.Errorf("no certificate has the fingerprint of the token")
}

func fingerprintOf(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("not a token")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", err
	}
	var facts struct {
		CA string `json:"ca"`
	}
	err = json.Unmarshal(text, &facts)
	return facts.CA, err
}

// grpc makes one unary call with net/http: the fields of the response that are text, and who answered.
func grpc(address, path string, config *tls.Config, request []byte) (map[int]string, string, error) {
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: timeout}
	framed := append([]byte{0, 0, 0, 0, 0}, request...)
	binary.BigEndian.PutUint32(framed[1:], uint32(len(request)))
	post, err := http.NewRequest(http.MethodPost, "https://"+address+path, bytes.NewReader(framed))
	if err != nil {
		return nil, "", err
	}
	post.Header.Set("Content-Type", "application/grpc")
	post.Header.Set("Te", "trailers")
	response, err := client.Do(post)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, "", err
	}
	status, message := response.Trailer.Get("Grpc-Status"), response.Trailer.Get("Grpc-Message")
	if status == "" {
		status, message = response.Header.Get("Grpc-Status"), response.Header.Get("Grpc-Message")
	}
	if status != "0" || len(body) < 5 {
		return nil, "", fmt.Errorf("grpc-status %s: %s", status, message)
	}
	fields, err := texts(body[5:])
	return fields, peerOf(response.TLS), err
}

// field is a protobuf field of text.
func field(number int, text string) []byte {
	out := binary.AppendUvarint(nil, uint64(number)<<3|2)
	out = binary.AppendUvarint(out, uint64(len(text)))
	return append(out, text...)
}

// texts gives the fields of text. Numbers are passed over, as protobuf has it for fields that a peer does not know.
func texts(message []byte) (map[int]string, error) {
	fields := map[int]string{}
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n > 0 && tag&7 == 0 {
			_, m := binary.Uvarint(message[n:])
			if m <= 0 {
				return nil, fmt.Errorf("a number that is cut short")
			}
			message = message[n+m:]
			continue
		}
		if n <= 0 || tag&7 != 2 {
			return nil, fmt.Errorf("a field that is neither text nor a number")
		}
		length, m := binary.Uvarint(message[n:])
		start := n + m
		if m <= 0 || uint64(len(message)-start) < length {
			return nil, fmt.Errorf("a field that is cut short")
		}
		fields[int(tag>>3)] = string(message[start : start+int(length)])
		message = message[start+int(length):]
	}
	return fields, nil
}
