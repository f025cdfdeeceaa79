package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// identityFiles are where a workload keeps what it proves itself with.
type identityFiles struct {
	certificate, key, bundle string
}

// identity is what go-spiffe made of the files.
type identity struct {
	svid   *x509svid.SVID
	bundle *x509bundle.Bundle
}

func load(files identityFiles) (*identity, error) {
	svid, err := x509svid.Load(files.certificate, files.key)
	if err != nil {
		return nil, err
	}
	bundle, err := x509bundle.Load(svid.ID.TrustDomain(), files.bundle)
	if err != nil {
		return nil, err
	}
	return &identity{svid: svid, bundle: bundle}, nil
}

// client is the configuration of a caller that takes no other server than peer.
func (own *identity) client(peer string, protocol string) (*tls.Config, error) {
	id, err := spiffeid.FromString(peer)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.MTLSClientConfig(own.svid, own.bundle, tlsconfig.AuthorizeID(id))
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{protocol}
	return config, nil
}

// server is the configuration of a server that takes no other caller than peer.
func (own *identity) server(peer string, protocol string) (*tls.Config, error) {
	id, err := spiffeid.FromString(peer)
	if err != nil {
		return nil, err
	}
	config := tlsconfig.MTLSServerConfig(own.svid, own.bundle, tlsconfig.AuthorizeID(id))
	config.MinVersion = tls.VersionTLS13
	config.NextProtos = []string{protocol}
	return config, nil
}

// peerOf is the SPIFFE ID that the other end proved.
func peerOf(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	id, err := x509svid.IDFromCert(state.PeerCertificates[0])
	if err != nil {
		return err.Error()
	}
	return id.String()
}

// newRequest makes a key, and a certificate request for it as crypto/x509 writes one.
func newRequest() (key *ecdsa.PrivateKey, request string, err error) {
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, "", err
	}
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), nil
}

// keep writes what was issued, and reads it back with go-spiffe, which verifies the chain.
func keep(files identityFiles, key *ecdsa.PrivateKey, chain string, bundle string) (*identity, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	for path, text := range map[string][]byte{
		files.certificate: []byte(chain),
		files.bundle:      []byte(bundle),
		files.key:         pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, err
		}
	}
	own, err := load(files)
	if err != nil {
		return nil, err
	}
	if _, _, err := x509svid.Verify(own.svid.Certificates, own.bundle); err != nil {
		return nil, err
	}
	return own, nil
}

// parsed is what crypto/x509 says of one certificate.
type parsed struct {
	Subject string   `json:"subject"`
	URIs    []string `json:"uris"`
	Error   string   `json:"error,omitempty"`
}

// parse reads every certificate and certificate request of a PEM file.
func parse(file string) ([]parsed, error) {
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	found := []parsed{}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found, nil
		}
		if block.Type == "CERTIFICATE REQUEST" {
			request, err := x509.ParseCertificateRequest(block.Bytes)
			if err == nil {
				err = request.CheckSignature()
			}
			found = append(found, parsed{Subject: block.Type, Error: textOf(err)})
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			found = append(found, parsed{Error: err.Error()})
			continue
		}
		one := parsed{Subject: certificate.Subject.String()}
		for _, uri := range certificate.URIs {
			one.URIs = append(one.URIs, uri.String())
		}
		found = append(found, one)
	}
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}
