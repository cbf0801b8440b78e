// Package node is what runs inside a cluster's own namespaces: a first
// process that reaps and, with its death, ends all others; and the manager,
// which starts and restarts every component.
package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
)

// The files that the host's side hands to Init, after the standard three.
const (
	RunningFile = 3 // holds the lock on layout.Dir.Running
	GoFile      = 4 // a pipe: one byte when the network link is there
)

// Init is process 1 of the namespaces. It returns only when the manager ended
// or when it was told to stop, and with that everything ends: the kernel kills
// whatever is left in the namespaces.
func Init(dir layout.Dir) error {
	unix.CloseOnExec(RunningFile)
	unix.CloseOnExec(GoFile)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGTERM, unix.SIGINT)
	if err := awaitNetwork(); err != nil {
		return err
	}
	ranges, err := network.Load(dir.Network())
	if err != nil {
		return err
	}
	if err := isolate(dir, ranges); err != nil {
		return fmt.Errorf("prepare the node's mounts: %w", err)
	}
	if err := network.ConfigureNode(ranges); err != nil {
		return fmt.Errorf("configure the node's network: %w", err)
	}
	manager, err := startManager(dir)
	if err != nil {
		return fmt.Errorf("start the manager: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- reapUntil(manager) }()
	select {
	case <-stop:
		return nil
	case err := <-ended:
		return err
	}
}

// awaitNetwork ends with an error when the command that started this process
// died before it made the link.
func awaitNetwork() error {
	pipe := os.NewFile(GoFile, "go")
	defer pipe.Close()
	if count, err := pipe.Read(make([]byte, 1)); count != 1 {
		return fmt.Errorf("the command that started the cluster gave up: %w", err)
	}
	return nil
}

func startManager(dir layout.Dir) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	process, err := os.StartProcess(self, []string{self, "manage", "--dir", string(dir)},
		&os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}, Env: os.Environ()})
	if err != nil {
		return 0, err
	}
	return process.Pid, nil
}

// reapUntil waits for every child, orphans of containers among them, until
// the manager has ended.
func reapUntil(manager int) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for processes: %w", err)
		case pid == manager:
			return fmt.Errorf("the manager ended: exit code %d, signal %d", status.ExitStatus(), status.Signal())
		}
	}
}
