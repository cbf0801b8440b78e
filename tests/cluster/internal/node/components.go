package node

import (
	"fmt"
	"path/filepath"

	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
)

// Ports on the node. It is alone in its network namespace but for pods that
// share it, so these are away from those of MAAS (53, 67-69, 80, 514, 3128,
// 5240-5284, 8000).
const (
	APIPort      = 6443
	RegistryPort = 5000
	DNSPort      = 1053
	DNSReadyPort = 1054
)

const containerdSocket = "/run/containerd/containerd.sock"

// plan is all that the components' command lines and files are made of.
type plan struct {
	dir      layout.Dir
	ranges   network.Range
	programs string // the folder of kube's links, coredns and so on
}

func (p plan) pki(file string) string { return p.dir.State("pki", file) }

func (p plan) config(file string) string { return p.dir.State("config", file) }

func (p plan) kube(name string, args ...string) component {
	return component{name: name, program: filepath.Join(p.programs, "kube"), args: args}
}

func (p plan) etcd() component {
	return p.kube("etcd",
		"--name=test",
		"--data-dir="+p.dir.State("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=test=http://127.0.0.1:2380",
		// Safe as long as the machine itself does not crash.
		"--unsafe-no-fsync",
		"--log-level=warn",
	)
}

func (p plan) apiserver() component {
	return p.kube("kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--advertise-address="+p.ranges.Node(),
		"--bind-address=0.0.0.0",
		fmt.Sprintf("--secure-port=%d", APIPort),
		"--tls-cert-file="+p.pki("apiserver.crt"),
		"--tls-private-key-file="+p.pki("apiserver.key"),
		"--client-ca-file="+p.pki("ca.crt"),
		"--kubelet-client-certificate="+p.pki("apiserver-kubelet.crt"),
		"--kubelet-client-key="+p.pki("apiserver-kubelet.key"),
		"--kubelet-certificate-authority="+p.pki("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc."+layout.DNSDomain,
		"--service-account-key-file="+p.pki("service-accounts.key"),
		"--service-account-signing-key-file="+p.pki("service-accounts.key"),
		"--service-cluster-ip-range="+p.ranges.Services(),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--audit-policy-file="+p.config("audit.yaml"),
		"--audit-log-path="+p.dir.AuditLog(),
		"--audit-log-mode=blocking",
		"--profiling=false",
	)
}

func (p plan) controllers() component {
	return p.kube("kube-controller-manager",
		"--kubeconfig="+p.pki("controller-manager.kubeconfig"),
		"--authentication-kubeconfig="+p.pki("controller-manager.kubeconfig"),
		"--authorization-kubeconfig="+p.pki("controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+p.pki("service-accounts.key"),
		"--root-ca-file="+p.pki("ca.crt"),
		"--cluster-signing-cert-file="+p.pki("ca.crt"),
		"--cluster-signing-key-file="+p.pki("ca.key"),
		"--profiling=false",
	)
}

func (p plan) scheduler() component {
	return p.kube("kube-scheduler",
		"--kubeconfig="+p.pki("scheduler.kubeconfig"),
		"--authentication-kubeconfig="+p.pki("scheduler.kubeconfig"),
		"--authorization-kubeconfig="+p.pki("scheduler.kubeconfig"),
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--profiling=false",
	)
}

func (p plan) kubelet() component {
	return p.kube("kubelet",
		"--config="+p.config("kubelet.yaml"),
		"--kubeconfig="+p.pki("kubelet.kubeconfig"),
		"--root-dir="+p.dir.State("kubelet"),
		"--hostname-override="+layout.NodeName,
		"--node-ip="+p.ranges.Node(),
	)
}

func (p plan) proxy() component {
	return p.kube("kube-proxy", "--config="+p.config("kube-proxy.yaml"))
}

func (p plan) containerd() component {
	return component{name: "containerd", program: "containerd", args: []string{"--config", p.config("containerd.toml")}}
}

func (p plan) registry() component {
	return component{name: "docker-registry", program: "docker-registry",
		args: []string{"serve", p.config("registry.yaml")},
		env:  []string{"OTEL_TRACES_EXPORTER=none"}}
}

func (p plan) dns() component {
	return component{name: "coredns", program: filepath.Join(p.programs, "coredns"),
		args: []string{"-conf", p.config("Corefile")}}
}
