package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
	"maas-mirror/tests/cluster/internal/node"
)

const (
	// readyBound is for all checks together: a start takes some 15 s on an
	// idle machine.
	readyBound = 4 * time.Minute
	askBound   = 3 * time.Second
)

type check struct {
	what string
	try  func(context.Context) error
}

// probe looks at one running cluster.
type probe struct {
	dir    layout.Dir
	ranges network.Range
	client kubernetes.Interface
}

func (c Cluster) newProbe() (*probe, error) {
	ranges, err := network.Load(c.Dir.Network())
	if err != nil {
		return nil, err
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.Dir.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.Timeout = askBound
	config.QPS = -1 // no throttle: the questions are few
	client, err := kubernetes.NewForConfig(config)
	return &probe{dir: c.Dir, ranges: ranges, client: client}, err
}

// checks are in the order in which they come true.
func (p *probe) checks() []check {
	return []check{
		{"registry", p.registry},
		{"API server", p.api},
		{"node ready", p.node},
		{"default account", p.account},
		{"storage class", p.storage},
		{"DNS by Service", p.dns},
	}
}

func (p *probe) get(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}

func (p *probe) registry(ctx context.Context) error {
	return p.get(ctx, fmt.Sprintf("http://%s:%d/v2/", p.ranges.Node(), node.RegistryPort))
}

func (p *probe) api(ctx context.Context) error {
	return p.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

// node is ready only with this boot's kubelet: the object outlives a reboot.
func (p *probe) node(ctx context.Context) error {
	boot, err := os.ReadFile(p.dir.State("boot-id"))
	if err != nil {
		return err
	}
	found, err := p.client.CoreV1().Nodes().Get(ctx, layout.NodeName, meta.GetOptions{})
	if err != nil {
		return err
	}
	if found.Status.NodeInfo.BootID != strings.TrimSpace(string(boot)) {
		return errors.New("the kubelet has not reported since the node's start")
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == core.NodeReady && condition.Status != core.ConditionTrue {
			return fmt.Errorf("not ready: %s", condition.Message)
		}
	}
	for _, taint := range found.Spec.Taints {
		if taint.Key == core.TaintNodeNotReady || taint.Key == "node.kubernetes.io/unreachable" {
			return fmt.Errorf("still tainted %s", taint.Key)
		}
	}
	return nil
}

func (p *probe) account(ctx context.Context) error {
	_, err := p.client.CoreV1().ServiceAccounts("default").Get(ctx, "default", meta.GetOptions{})
	return err
}

func (p *probe) storage(ctx context.Context) error {
	_, err := p.client.StorageV1().StorageClasses().Get(ctx, layout.StorageClass, meta.GetOptions{})
	return err
}

// dns asks through the Service's address, so it tries kube-proxy too.
func (p *probe) dns(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askBound)
	defer cancel()
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, kind, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, kind, net.JoinHostPort(p.ranges.DNS(), "53"))
	}}
	_, err := resolver.LookupHost(ctx, "kubernetes.default.svc."+layout.DNSDomain+".")
	return err
}

// awaitReady waits for every check in turn and says what each took.
func (c Cluster) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	if err := c.poll(ctx, func() error { _, err := os.Stat(c.Dir.Kubeconfig()); return err }); err != nil {
		return c.explain("the node's first process", err)
	}
	probe, err := c.newProbe()
	if err != nil {
		return err
	}
	for _, check := range probe.checks() {
		begin := time.Now()
		if err := c.poll(ctx, func() error { return check.try(ctx) }); err != nil {
			return c.explain(check.what, err)
		}
		progress(check.what, begin)
	}
	return nil
}

// poll repeats try until it succeeds, time is up or the supervisor is dead.
func (c Cluster) poll(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		if pid, lockErr := c.Dir.Supervisor(); lockErr == nil && pid == 0 {
			return errors.New("the supervisor has ended")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("given up: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// explain adds where to look, and the end of the supervisor's log.
func (c Cluster) explain(what string, err error) error {
	const lines = 15
	text, readErr := os.ReadFile(c.Dir.Log("supervisor.log"))
	if readErr != nil {
		text = []byte(readErr.Error())
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	tail := strings.Join(all[max(0, len(all)-lines):], "\n  ")
	return fmt.Errorf("waiting for %s: %w\n  %s\nevery component's log is in %s", what, err, tail, c.Dir.Log(""))
}

// awaitFreshPods waits until the API server shows no container as running
// that was started before the reboot: whoever waits for pods to be ready
// after that does not take the old state for the new.
func (c Cluster) awaitFreshPods(ctx context.Context, booted time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	probe, err := c.newProbe()
	if err != nil {
		return err
	}
	err = c.poll(ctx, func() error { return probe.noStalePods(ctx, booted) })
	if err != nil {
		return c.explain("the kubelet to report every pod anew", err)
	}
	return nil
}

func (p *probe) noStalePods(ctx context.Context, booted time.Time) error {
	pods, err := p.client.CoreV1().Pods("").List(ctx, meta.ListOptions{})
	if err != nil {
		return err
	}
	for _, pod := range pods.Items {
		for _, container := range pod.Status.ContainerStatuses {
			running := container.State.Running
			// The API's times are whole seconds, rounded down.
			if running != nil && running.StartedAt.Time.Before(booted.Truncate(time.Second)) {
				return fmt.Errorf("pod %s/%s, container %s", pod.Namespace, pod.Name, container.Name)
			}
		}
	}
	return nil
}
