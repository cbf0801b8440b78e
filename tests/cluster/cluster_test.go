package cluster_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"maas-mirror/tests/cluster/internal/image"
)

// One cluster goes through all that tests use it for; each step needs the one
// before.
func TestCluster(t *testing.T) {
	d := newDriver(t)
	settings := kernelSettings(t)
	d.up()
	if now := kernelSettings(t); now != settings {
		t.Errorf("up changed the machine's settings:\n%s\nto\n%s", settings, now)
	}
	d.serveFixture()
	d.namesWhatRuns()
	d.runsPods()
	d.answers()
	d.reachesNothingElse()
	d.keepsAnAuditLog()
	d.survivesReboot()
	d.survivesTheSupervisorsDeath()
	d.keepsDataWhenAsked()
	d.removesReleasedVolumes()
	d.leavesNothing()
}

func (d *driver) namesWhatRuns() {
	d.t.Helper()
	for _, name := range []string{"KUBECONFIG", "CLUSTER_REGISTRY", "CLUSTER_HOST", "CLUSTER_NODE",
		"CLUSTER_STORAGE_CLASS", "CLUSTER_AUDIT_LOG", "KUBECTL", "HELM"} {
		if d.env[name] == "" {
			d.t.Errorf("up does not name %s", name)
		}
	}
	running := d.supervisor()
	if d.must("up"); d.supervisor() != running {
		d.t.Error("a second up did not leave the running cluster alone")
	}
	d.must("status")
	version := d.kubectl("version", "--output=json")
	if !strings.Contains(version, `"major": "1"`) || strings.Contains(version, "v0.0.0") {
		d.t.Errorf("the API server does not know its version: %s", version)
	}
	if output, err := executeWith(d.env, d.env["HELM"], "list", "--all-namespaces"); err != nil {
		d.t.Errorf("helm list: %v: %s", err, output)
	}
}

// runsPods pulls the probe's image from the cluster's registry.
func (d *driver) runsPods() {
	d.t.Helper()
	folder := d.t.TempDir()
	program, archive := filepath.Join(folder, "probe"), filepath.Join(folder, "probe.tar")
	build := exec.Command("go", "build", "-o", program, "./cmd/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		d.t.Fatalf("build the probe: %v: %s", err, output)
	}
	err := image.Write(archive, "probe:1", image.Image{
		Entrypoint: []string{"/probe"}, Files: map[string]string{"/probe": program}})
	if err != nil {
		d.t.Fatal(err)
	}
	name := d.must("load", archive, "probe:1")
	if name != d.env["CLUSTER_REGISTRY"]+"/probe:1" {
		d.t.Fatalf("load prints %q", name)
	}
	manifest, err := os.ReadFile("testdata/pods.yaml")
	if err != nil {
		d.t.Fatal(err)
	}
	path := filepath.Join(folder, "pods.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(manifest), "IMAGE", name)), 0o600); err != nil {
		d.t.Fatal(err)
	}
	begin := time.Now()
	d.kubectl("apply", "--filename", path)
	d.awaitPods()
	d.t.Logf("pods ready after %.1f s", time.Since(begin).Seconds())
	if logs := d.kubectl("logs", "probe-0"); !strings.Contains(logs, "probe-0 listens on") {
		d.t.Errorf("kubectl logs: %q", logs)
	}
}

// answers is also asked after everything that the cluster must survive.
func (d *driver) answers() {
	d.t.Helper()
	address := d.kubectl("get", "service", "probe", "--output=jsonpath={.spec.clusterIP}")
	for _, name := range []string{"probe", "probe.default.svc.cluster.local"} {
		if found := d.probe("lookup", name); found != address {
			d.t.Errorf("in a pod %s is %q, not the Service's %q", name, found, address)
		}
	}
	// A pod reaches itself by its own Service, and the node's pod does too.
	onNode := d.kubectl("get", "pod", "--selector=app=on-node", "--output=jsonpath={.items[0].metadata.name}")
	for _, pod := range []string{"probe-0", onNode} {
		url := "http://probe.default.svc.cluster.local/"
		if found := d.kubectl("exec", pod, "--", "/probe", "get", url); found != "probe-0" {
			d.t.Errorf("%s answers %q in the pod %s", url, found, pod)
		}
	}
	port := d.kubectl("get", "service", "probe", "--output=jsonpath={.spec.ports[0].nodePort}")
	for _, url := range []string{"http://" + d.env["CLUSTER_NODE_ADDRESS"] + ":" + port, "http://" + address} {
		if found := fetch(d.t, url); found != "probe-0" {
			d.t.Errorf("from the host %s answers %q", url, found)
		}
	}
	if found := d.probe("get", d.fixture); found != "the fixture" {
		d.t.Errorf("a pod reads %q from the host", found)
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return strings.TrimSpace(string(body))
}

// kernelSettings are the machine's own that a kubelet or kube-proxy would
// change.
func kernelSettings(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "net/ipv4/ip_forward", "net/netfilter/nf_conntrack_max"} {
		value, err := os.ReadFile("/proc/sys/" + name)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s=%s\n", name, strings.TrimSpace(string(value)))
	}
	return all.String()
}

// serveFixture starts a server on the host that outlives the cluster's
// reboots, as the fixtures of tests do.
func (d *driver) serveFixture() {
	d.t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(d.env["CLUSTER_HOST"], "0"))
	if err != nil {
		d.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "the fixture")
	})}
	go func() { _ = server.Serve(listener) }()
	d.t.Cleanup(func() { server.Close() })
	d.fixture = "http://" + listener.Addr().String()
}

func (d *driver) reachesNothingElse() {
	d.t.Helper()
	// There is no world outside, and nobody waits to learn that.
	begin := time.Now()
	for _, question := range [][]string{{"lookup", "archive.ubuntu.com"}, {"get", "http://192.0.2.77/"}} {
		output, err := d.tryKubectl("exec", "probe-0", "--", "/probe", question[0], question[1])
		if err == nil {
			d.t.Errorf("a pod reaches outside: %v: %s", question, output)
		}
	}
	if took := time.Since(begin); took > 8*time.Second {
		d.t.Errorf("what is outside took %s to fail", took)
	}
}

func (d *driver) keepsAnAuditLog() {
	d.t.Helper()
	file, err := os.Open(d.env["CLUSTER_AUDIT_LOG"])
	if err != nil {
		d.t.Fatal(err)
	}
	defer file.Close()
	found := false
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var event struct {
			Verb, UserAgent string
			ObjectRef       struct{ Resource, Name string }
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			d.t.Fatalf("audit log: %v", err)
		}
		if event.Verb == "get" || event.Verb == "list" {
			d.t.Errorf("the audit log has a read: %s", lines.Text())
		}
		if event.Verb == "create" && event.ObjectRef.Resource == "statefulsets" && strings.HasPrefix(event.UserAgent, "kubectl/") {
			found = true
		}
	}
	if !found {
		d.t.Error("the audit log does not have kubectl's creation of the StatefulSet")
	}
}

// count adds a line to the file in the pod's volume: a number that only grows
// by one says that all earlier data is still there.
func (d *driver) count() int { d.t.Helper(); return atoi(d.t, d.probe("append", "/data/lines")) }

func (d *driver) stillCounts(before int, event string) {
	d.t.Helper()
	d.awaitPods()
	if after := d.count(); after != before+1 {
		d.t.Errorf("after %s the volume has %d lines, not %d", event, after, before+1)
	}
	d.answers()
}

func (d *driver) survivesReboot() {
	d.t.Helper()
	before, old := d.count(), d.family()
	started := d.kubectl("get", "pod", "probe-0", "--output=jsonpath={.status.containerStatuses[0].containerID}")
	d.must("reboot")
	if left := alive(d.t, old); len(left) > 0 {
		d.t.Errorf("processes outlived the reboot: %+v", left)
	}
	d.stillCounts(before, "a reboot")
	if now := d.kubectl("get", "pod", "probe-0", "--output=jsonpath={.status.containerStatuses[0].containerID}"); now == started {
		d.t.Errorf("the container %s was not started anew", now)
	}
}

func (d *driver) survivesTheSupervisorsDeath() {
	d.t.Helper()
	before, old := d.count(), d.family()
	if err := unix.Kill(d.supervisor(), unix.SIGKILL); err != nil {
		d.t.Fatal(err)
	}
	d.nothingRuns(old, d.ranges())
	if output, err := d.try("status"); err == nil {
		d.t.Errorf("status of a dead cluster is good: %s", output)
	}
	d.up()
	d.stillCounts(before, "the supervisor's death")
}

func (d *driver) keepsDataWhenAsked() {
	d.t.Helper()
	before, old, ranges := d.count(), d.family(), d.ranges()
	d.must("down", "--keep")
	d.nothingRuns(old, ranges)
	d.noCgroups()
	d.up()
	d.stillCounts(before, "down --keep")
}

func (d *driver) removesReleasedVolumes() {
	d.t.Helper()
	volume := d.kubectl("get", "pvc", "data-probe-0", "--output=jsonpath={.spec.volumeName}")
	path := filepath.Join(d.dir.Volumes(), volume)
	if _, err := os.Stat(filepath.Join(path, "lines")); err != nil {
		d.t.Fatalf("the volume's data is not where it should be: %v", err)
	}
	d.kubectl("delete", "statefulset", "probe", "--timeout", podBound)
	d.kubectl("delete", "pod", "--selector=app=probe", "--timeout", podBound)
	d.kubectl("delete", "pvc", "data-probe-0", "--timeout", podBound)
	eventually(d.t, "the released volume", func() error {
		if _, err := os.Stat(path); err == nil {
			return fmt.Errorf("%s is still there", path)
		}
		if output, err := d.tryKubectl("get", "pv", volume); err == nil {
			return fmt.Errorf("still there: %s", output)
		}
		return nil
	})
}

func (d *driver) leavesNothing() {
	d.t.Helper()
	old, ranges := d.family(), d.ranges()
	d.must("down")
	d.nothingRuns(old, ranges)
	d.noCgroups()
	if _, err := os.Stat(string(d.dir)); !os.IsNotExist(err) {
		d.t.Errorf("files are left in %s: %v", d.dir, err)
	}
	d.must("down") // of nothing is fine
}

func TestTwoClustersAtOnce(t *testing.T) {
	one, other := newDriver(t), newDriver(t)
	one.up()
	other.up()
	if one.env["CLUSTER_REGISTRY"] == other.env["CLUSTER_REGISTRY"] {
		t.Fatalf("both clusters are at %s", one.env["CLUSTER_REGISTRY"])
	}
	one.kubectl("create", "configmap", "mark")
	if output, err := other.tryKubectl("get", "configmap", "mark"); err == nil {
		t.Errorf("one cluster's object is in the other: %s", output)
	}
	old := one.family()
	ranges := one.ranges()
	one.must("down")
	one.nothingRuns(old, ranges)
	one.noCgroups()
	other.must("status")

	// down alone clears away what a dead supervisor left.
	old, ranges = other.family(), other.ranges()
	if err := unix.Kill(other.supervisor(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	other.must("down")
	other.nothingRuns(old, ranges)
	other.noCgroups()
}

// Where a cluster cannot be, up says so: skipped for a person, failed for CI.
func TestWithoutRoot(t *testing.T) {
	for _, test := range []struct {
		env  string
		code int
	}{{"", 3}, {"CI=true", 1}, {"MAAS_TEST_CLUSTER=require", 1}} {
		t.Run(fmt.Sprintf("%q", test.env), func(t *testing.T) {
			// In a user namespace of its own root is nobody.
			command := exec.Command("unshare", "--user", "./cluster", "up", "--dir", t.TempDir())
			for _, variable := range os.Environ() {
				if !strings.HasPrefix(variable, "CI=") && !strings.HasPrefix(variable, "MAAS_TEST_CLUSTER=") {
					command.Env = append(command.Env, variable)
				}
			}
			if test.env != "" {
				command.Env = append(command.Env, test.env)
			}
			output, _ := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(output), "needs root") {
				t.Errorf("exit code %d, not %d: %s", code, test.code, output)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"rise"}, {"up", "--size", "3"}, {"up", "now"}, {"up", "--keep"}, {"load", "archive"}, {"manage", "it"}} {
		command := exec.Command("./cluster", args...)
		output, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != 64 {
			t.Errorf("%v: exit code %d, not 64: %s", args, code, output)
		}
	}
}
