// Package pki makes a cluster's certificate authority, its certificates and
// the kubeconfig files that carry them. They last as long as the cluster's
// data does.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const validity = 10 * 365 * 24 * time.Hour

// Identity is what one certificate says of its holder.
type Identity struct {
	File          string // beneath the folder, without .crt and .key
	User          string
	Groups        []string
	Names         []string
	Addresses     []string
	KubeconfigFor string // the API server's URL, for a file that ends in .kubeconfig
}

// Make writes the authority and every identity, unless all is there.
func Make(dir string, identities []Identity) error {
	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	authority, err := newAuthority(dir)
	if err != nil {
		return fmt.Errorf("make the certificate authority: %w", err)
	}
	for _, identity := range identities {
		if err := authority.issue(dir, identity); err != nil {
			return fmt.Errorf("make the certificate %s: %w", identity.File, err)
		}
	}
	if err := writeKey(filepath.Join(dir, "service-accounts.key"), nil); err != nil {
		return err
	}
	return os.WriteFile(complete, nil, 0o644)
}

type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test cluster"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(validity),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "ca.crt"), text, 0o644),
		writeKey(filepath.Join(dir, "ca.key"), key))
	return &authority{certificate: certificate, key: key, pem: text}, err
}

func (a *authority) issue(dir string, identity Identity) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: identity.User, Organization: identity.Groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:     identity.Names,
	}
	for _, address := range identity.Addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	path := filepath.Join(dir, identity.File)
	if err := os.WriteFile(path+".crt", certificate, 0o644); err != nil {
		return err
	}
	if err := writeKey(path+".key", key); err != nil {
		return err
	}
	if identity.KubeconfigFor == "" {
		return nil
	}
	private, err := os.ReadFile(path + ".key")
	if err != nil {
		return err
	}
	config := Kubeconfig(identity.KubeconfigFor, a.pem, certificate, private)
	return os.WriteFile(path+".kubeconfig", config, 0o600)
}

// writeKey writes a private key, a new one when none is given.
func writeKey(path string, key *ecdsa.PrivateKey) error {
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	return os.WriteFile(path, text, 0o600)
}
