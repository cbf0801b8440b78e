package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"maas-mirror/tests/cluster/internal/cgroup"
	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
)

const (
	commandBound = 5 * time.Minute
	podBound     = "120s"
)

// driver is one cluster, used as a person would: by the script.
type driver struct {
	t   *testing.T
	dir layout.Dir
	env map[string]string
	// fixture is the URL of a server on the host.
	fixture string
}

func newDriver(t *testing.T) *driver {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests need root; cluster test says so before it starts them")
	}
	dir, err := layout.New(filepath.Join(t.TempDir(), "c"))
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{t: t, dir: dir}
	t.Cleanup(func() {
		if t.Failed() {
			d.showLogs()
		}
		if output, err := d.try("down"); err != nil {
			t.Errorf("down: %v: %s", err, output)
		}
	})
	return d
}

// try runs a command of the driver and returns all that it printed.
func (d *driver) try(verb string, args ...string) (string, error) {
	return execute("./cluster", append([]string{verb, "--dir", string(d.dir)}, args...)...)
}

func (d *driver) must(verb string, args ...string) string {
	d.t.Helper()
	begin := time.Now()
	output, err := d.try(verb, args...)
	if err != nil {
		d.t.Fatalf("cluster %s: %v: %s", verb, err, output)
	}
	d.t.Logf("cluster %s took %.1f s", verb, time.Since(begin).Seconds())
	return output
}

func (d *driver) up() {
	d.t.Helper()
	d.must("up")
	d.env = map[string]string{}
	for line := range strings.Lines(d.must("env")) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found {
			d.t.Fatalf("not a shell line: %q", line)
		}
		d.env[name] = value
	}
}

func execute(program string, args ...string) (string, error) {
	return executeWith(nil, program, args...)
}

// executeWith returns standard output, with standard error only on failure.
func executeWith(env map[string]string, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandBound)
	defer cancel()
	var output, errors bytes.Buffer
	command := exec.CommandContext(ctx, program, args...)
	command.Env = os.Environ()
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	command.Stdout, command.Stderr = &output, &errors
	command.WaitDelay = time.Second
	err := command.Run()
	text := output.String()
	if err != nil {
		text += errors.String()
	}
	return strings.TrimSpace(text), err
}

// kubectl runs it and returns what it printed.
func (d *driver) kubectl(args ...string) string {
	d.t.Helper()
	output, err := d.tryKubectl(args...)
	if err != nil {
		d.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, output)
	}
	return output
}

func (d *driver) tryKubectl(args ...string) (string, error) {
	return executeWith(d.env, d.env["KUBECTL"], args...)
}

// probe asks from within the StatefulSet's pod.
func (d *driver) probe(args ...string) string {
	d.t.Helper()
	return d.kubectl(append([]string{"exec", "probe-0", "--", "/probe"}, args...)...)
}

func (d *driver) awaitPods() {
	d.t.Helper()
	d.kubectl("rollout", "status", "statefulset/probe", "--timeout", podBound)
	d.kubectl("rollout", "status", "daemonset/on-node", "--timeout", podBound)
	d.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout", podBound)
}

// supervisor is the running one's process id.
func (d *driver) supervisor() int {
	d.t.Helper()
	pid, err := d.dir.Supervisor()
	if err != nil || pid == 0 {
		d.t.Fatalf("no supervisor runs: %v", err)
	}
	return pid
}

// process is one life of a process id.
type process struct {
	pid, parent int
	name        string
	start       string
}

// processes reads them all from /proc.
func processes(t *testing.T) map[int]process {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]process{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		// pid (name) state parent …; the start is the 22nd field, and the name
		// may hold anything.
		end := bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[end+1:]))
		pid, name, _ := strings.Cut(string(text[:end]), " (")
		found[atoi(t, pid)] = process{atoi(t, pid), atoi(t, fields[1]), name, fields[19]}
	}
	return found
}

// family is the supervisor and all that descend from it: every process of the
// cluster, as orphans become the supervisor's children.
func (d *driver) family() []process {
	d.t.Helper()
	all := processes(d.t)
	family := []process{all[d.supervisor()]}
	for i := 0; i < len(family); i++ {
		for _, candidate := range all {
			if candidate.parent == family[i].pid {
				family = append(family, candidate)
			}
		}
	}
	if len(family) < 10 {
		d.t.Fatalf("a running cluster has only the processes %v", family)
	}
	return family
}

// alive are those of the processes given that have not ended.
func alive(t *testing.T, family []process) []process {
	t.Helper()
	now := processes(t)
	var found []process
	for _, member := range family {
		if current, exists := now[member.pid]; exists && current.start == member.start {
			found = append(found, member)
		}
	}
	return found
}

// eventually repeats a question until it is answered well, for 30 s.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// nothingRuns waits for the kernel to have cleared a dead cluster away.
func (d *driver) nothingRuns(family []process, ranges network.Range) {
	d.t.Helper()
	eventually(d.t, "what the cluster left", func() error {
		if left := alive(d.t, family); len(left) > 0 {
			return fmt.Errorf("processes: %+v", left)
		}
		if _, err := os.Stat("/sys/class/net/" + ranges.HostLink()); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("link %s: %v", ranges.HostLink(), err)
		}
		return nil
	})
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		d.t.Fatal(err)
	}
	if strings.Contains(string(mounts), string(d.dir)) {
		d.t.Errorf("mounts are left in %s:\n%s", d.dir, mounts)
	}
}

func (d *driver) noCgroups() {
	d.t.Helper()
	if cgroup.Exists(d.dir.Cgroup()) {
		d.t.Errorf("the cgroup %s is left", d.dir.Cgroup())
	}
}

func (d *driver) ranges() network.Range {
	d.t.Helper()
	ranges, err := network.Load(d.dir.Network())
	if err != nil || ranges == 0 {
		d.t.Fatalf("no address range: %d, %v", ranges, err)
	}
	return ranges
}

// showLogs prints the end of each log, for a failure that nobody can look at any more.
func (d *driver) showLogs() {
	const most = 3000
	logs, _ := filepath.Glob(d.dir.Log("*.log"))
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil || filepath.Base(path) == "audit.log" {
			continue
		}
		d.t.Logf("== end of %s\n%s", filepath.Base(path), text[max(0, len(text)-most):])
	}
}

func atoi(t *testing.T, text string) int {
	t.Helper()
	number, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return number
}
