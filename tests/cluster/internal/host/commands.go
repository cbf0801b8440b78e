package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
	"maas-mirror/tests/cluster/internal/node"
)

// Up starts the cluster unless it runs, and returns when it is ready.
func (c Cluster) Up(ctx context.Context) error {
	lock, err := c.Dir.Acquire()
	if err != nil {
		return err
	}
	defer lock.Close()
	pid, err := c.Dir.Supervisor()
	if err != nil {
		return err
	}
	begin := time.Now()
	if pid == 0 {
		if err := c.start(); err != nil {
			return err
		}
		progress("namespaces, mounts, network", begin)
	}
	if err := c.awaitReady(ctx); err != nil {
		return err
	}
	if pid == 0 {
		progress("cluster up, in all", begin)
	} else {
		fmt.Fprintf(os.Stderr, "cluster: already running in %s\n", c.Dir)
	}
	if err := c.writeEnv(); err != nil {
		return err
	}
	return c.PrintEnv(os.Stdout)
}

// Reboot ends everything at once, as a power cut would, and starts it again.
func (c Cluster) Reboot(ctx context.Context) error {
	lock, err := c.Dir.Acquire()
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := c.mustRun(); err != nil {
		return err
	}
	begin := time.Now()
	if err := c.stop(); err != nil {
		return err
	}
	progress("everything ended", begin)
	booted := time.Now()
	if err := c.start(); err != nil {
		return err
	}
	if err := c.awaitReady(ctx); err != nil {
		return err
	}
	if err := c.awaitFreshPods(ctx, booted); err != nil {
		return err
	}
	progress("node rebooted, in all", begin)
	return nil
}

// Down ends the cluster and removes its data, or keeps that for another up.
func (c Cluster) Down(keep bool) error {
	lock, err := c.Dir.Acquire()
	if err != nil {
		return err
	}
	defer lock.Close()
	begin := time.Now()
	if err := c.stop(); err != nil {
		return err
	}
	if err := c.Dir.Remove(keep); err != nil {
		return err
	}
	progress("cluster down", begin)
	return nil
}

// Status says how the cluster is; not being ready is an error.
func (c Cluster) Status(ctx context.Context) error {
	if err := c.mustRun(); err != nil {
		return err
	}
	probe, err := c.newProbe()
	if err != nil {
		return err
	}
	var failures []error
	for _, check := range probe.checks() {
		state := "ok"
		if err := check.try(ctx); err != nil {
			state = err.Error()
			failures = append(failures, errors.New(check.what))
		}
		fmt.Printf("%-16s %s\n", check.what, state)
	}
	if len(failures) > 0 {
		return fmt.Errorf("the cluster in %s is not ready; logs are in %s", c.Dir, c.Dir.Log(""))
	}
	return nil
}

// Load puts a docker-archive into the cluster's registry as NAME:TAG.
func (c Cluster) Load(ctx context.Context, archive, name string) error {
	if err := c.mustRun(); err != nil {
		return err
	}
	registry, err := c.registry()
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false",
		"docker-archive:"+archive, "docker://"+registry+"/"+name)
	command.Stderr = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("put %s into the registry as %s: skopeo: %w", archive, name, err)
	}
	fmt.Println(registry + "/" + name)
	return nil
}

// PrintEnv prints what up wrote.
func (c Cluster) PrintEnv(to io.Writer) error {
	if err := c.mustRun(); err != nil {
		return err
	}
	text, err := os.ReadFile(c.Dir.Env())
	if err != nil {
		return fmt.Errorf("the cluster is still starting: %w", err)
	}
	_, err = to.Write(text)
	return err
}

func (c Cluster) mustRun() error {
	pid, err := c.Dir.Supervisor()
	if err == nil && pid == 0 {
		err = fmt.Errorf("no cluster runs in %s; start it with: cluster up", c.Dir)
	}
	return err
}

func (c Cluster) registry() (string, error) {
	ranges, err := network.Load(c.Dir.Network())
	return fmt.Sprintf("%s:%d", ranges.Node(), node.RegistryPort), err
}

func (c Cluster) writeEnv() error {
	ranges, err := network.Load(c.Dir.Network())
	if err != nil {
		return err
	}
	registry, err := c.registry()
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, line := range [][2]string{
		{"KUBECONFIG", c.Dir.Kubeconfig()},
		{"CLUSTER_REGISTRY", registry},
		{"CLUSTER_HOST", ranges.Host()},
		{"CLUSTER_NODE", layout.NodeName},
		{"CLUSTER_NODE_ADDRESS", ranges.Node()},
		{"CLUSTER_STORAGE_CLASS", layout.StorageClass},
		{"CLUSTER_AUDIT_LOG", c.Dir.AuditLog()},
		{"KUBECTL", c.Programs + "/kubectl"},
		{"HELM", c.Helm},
		// By WebSockets `kubectl exec` now and then discards what comes before
		// its stream is set up ("Unknown stream id 1").
		{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"},
	} {
		fmt.Fprintf(&text, "%s=%s\n", line[0], line[1])
	}
	return os.WriteFile(c.Dir.Env(), []byte(text.String()), 0o644)
}

func progress(what string, begin time.Time) {
	fmt.Fprintf(os.Stderr, "cluster: %-28s %5.1f s\n", what, time.Since(begin).Seconds())
}
