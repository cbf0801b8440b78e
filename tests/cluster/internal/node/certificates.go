package node

import (
	"fmt"
	"os"

	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/pki"
)

func (p plan) writeCertificates() error {
	server := fmt.Sprintf("https://%s:%d", p.ranges.Node(), APIPort)
	err := pki.Make(p.dir.State("pki"), []pki.Identity{
		{File: "apiserver", User: "kube-apiserver",
			Names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc." + layout.DNSDomain, "localhost"},
			Addresses: []string{p.ranges.Node(), p.ranges.API(), "127.0.0.1"}},
		{File: "apiserver-kubelet", User: "kube-apiserver-kubelet", Groups: []string{"system:masters"}},
		{File: "kubelet-server", User: layout.NodeName,
			Names: []string{layout.NodeName}, Addresses: []string{p.ranges.Node(), "127.0.0.1"}},
		{File: "admin", User: "admin", Groups: []string{"system:masters"}, KubeconfigFor: server},
		{File: "controller-manager", User: "system:kube-controller-manager", KubeconfigFor: server},
		{File: "scheduler", User: "system:kube-scheduler", KubeconfigFor: server},
		{File: "kube-proxy", User: "system:kube-proxy", KubeconfigFor: server},
		{File: "coredns", User: "system:coredns", KubeconfigFor: server},
		{File: "kubelet", User: "system:node:" + layout.NodeName, Groups: []string{"system:nodes"}, KubeconfigFor: server},
	})
	if err != nil {
		return err
	}
	admin, err := os.ReadFile(p.pki("admin.kubeconfig"))
	if err != nil {
		return err
	}
	return os.WriteFile(p.dir.Kubeconfig(), admin, 0o600)
}
