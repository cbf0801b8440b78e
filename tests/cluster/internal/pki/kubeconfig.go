package pki

import (
	"encoding/base64"
	"fmt"
)

const kubeconfig = `apiVersion: v1
kind: Config
current-context: test
clusters:
- name: test
  cluster: {server: %q, certificate-authority-data: %s}
users:
- name: test
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: test
  context: {cluster: test, user: test}
`

// Kubeconfig is a file that holds all it names, so that it may be copied.
func Kubeconfig(server string, authority, certificate, key []byte) []byte {
	encode := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfig, server, encode(authority), encode(certificate), encode(key))
}
