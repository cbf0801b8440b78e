// Package host is the driver's side that runs on the host: it starts and ends
// a cluster's supervisor and looks at the cluster from outside.
package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"maas-mirror/tests/cluster/internal/cgroup"
	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
)

// endBound is how long the kernel may take to clear away what a dead
// supervisor leaves.
const endBound = 60 * time.Second

// Cluster is one cluster as seen from the host.
type Cluster struct {
	Dir layout.Dir
	// Programs is the folder of kube, kubectl, coredns and pause.
	Programs string
	// Helm is the program's path.
	Helm string
}

// start clears what a crash may have left and starts the supervisor.
func (c Cluster) start() error {
	if err := c.discardForeignState(); err != nil {
		return err
	}
	wanted, err := network.Load(c.Dir.Network())
	if err != nil {
		return err
	}
	if err := errors.Join(network.Disconnect(wanted), cgroup.Remove(c.Dir.Cgroup(), endBound)); err != nil {
		return fmt.Errorf("clear what an earlier run left: %w", err)
	}
	for _, folder := range []string{c.Dir.State("var-log"), filepath.Dir(c.Dir.AuditLog())} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if err := cgroup.Create(c.Dir.Cgroup()); err != nil {
		return err
	}
	if err := os.WriteFile(c.Dir.State("programs"), []byte(c.Programs), 0o644); err != nil {
		return err
	}
	return c.supervise(wanted)
}

// discardForeignState removes data of another build's cluster, which may not
// be readable to this one.
func (c Cluster) discardForeignState() error {
	if !c.Dir.HasState() {
		return nil
	}
	made, err := os.ReadFile(c.Dir.State("programs"))
	if err == nil && string(made) == c.Programs {
		return nil
	}
	fmt.Fprintln(os.Stderr, "cluster: the data there is of another build: starting anew")
	return c.Dir.Remove(false)
}

// supervise starts process 1 of new namespaces and links them to the host.
func (c Cluster) supervise(wanted network.Range) error {
	running, err := os.OpenFile(c.Dir.Running(), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	defer running.Close()
	if err := unix.Flock(int(running.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("claim %s: %w", c.Dir.Running(), err)
	}
	output, err := os.OpenFile(c.Dir.Log("supervisor.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	wait, proceed, err := os.Pipe()
	if err != nil {
		return err
	}
	defer wait.Close()
	defer proceed.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command := exec.Command(self, "init", "--dir", string(c.Dir))
	command.Dir = "/"
	command.Stdout, command.Stderr = output, output
	command.ExtraFiles = []*os.File{running, wait} // node.RunningFile, node.GoFile
	command.Env = append(os.Environ(), "CLUSTER_PROGRAMS="+c.Programs)
	command.SysProcAttr = &unix.SysProcAttr{
		Setsid: true,
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID |
			unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("start the supervisor in its own namespaces: %w", err)
	}
	pid := command.Process.Pid
	err = errors.Join(
		running.Truncate(0),
		writeAt(running, strconv.Itoa(pid)+"\n"),
		c.link(pid, wanted))
	if err == nil {
		_, err = proceed.Write([]byte{1})
	}
	if err != nil {
		_ = command.Process.Kill()
		_ = command.Wait()
		return err
	}
	return command.Process.Release()
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

func (c Cluster) link(pid int, wanted network.Range) error {
	ranges, err := network.Connect(pid, wanted, string(c.Dir))
	if err != nil {
		return err
	}
	return ranges.Save(c.Dir.Network())
}

// stop ends the supervisor, and with it every process, mount and link of the
// cluster; and removes its cgroups.
func (c Cluster) stop() error {
	pid, err := c.Dir.Supervisor()
	if err != nil {
		return err
	}
	if pid != 0 {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("end the supervisor, process %d: %w", pid, err)
		}
	}
	deadline := time.Now().Add(endBound)
	for pid != 0 {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d, the supervisor, has not ended after %s", pid, endBound)
		}
		time.Sleep(20 * time.Millisecond)
		if pid, err = c.Dir.Supervisor(); err != nil {
			return err
		}
	}
	ranges, err := network.Load(c.Dir.Network())
	if err != nil {
		return err
	}
	return errors.Join(network.Disconnect(ranges), cgroup.Remove(c.Dir.Cgroup(), endBound))
}
