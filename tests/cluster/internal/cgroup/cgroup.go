// Package cgroup makes and removes the control groups above a cluster's pods.
// Unlike processes, mounts and links they outlive the supervisor's death.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Root is where the host mounts its hierarchies.
const Root = "/sys/fs/cgroup"

// hierarchies are the folders that hold a group: one for each controller of
// cgroup v1, only Root itself for v2.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(Root, "cgroup.controllers")); err == nil {
		return []string{Root}, nil
	}
	entries, err := os.ReadDir(Root)
	if err != nil {
		return nil, fmt.Errorf("the host's cgroups cannot be read: %w", err)
	}
	var found []string
	for _, entry := range entries {
		path := filepath.Join(Root, entry.Name())
		// Symbolic links name one hierarchy twice (cpu, cpu,cpuacct).
		if _, err := os.Stat(filepath.Join(path, "cgroup.procs")); err == nil && entry.IsDir() {
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted beneath %s", Root)
	}
	return found, nil
}

// Create makes the group in every hierarchy.
func Create(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		group := filepath.Join(root, name)
		if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make a cgroup: %w", err)
		}
		if err := inheritCpuset(root, group); err != nil {
			return err
		}
		if root == Root {
			if err := delegate(root, group); err != nil {
				return err
			}
		}
	}
	return nil
}

// inheritCpuset copies what a new group of v1's cpuset lacks, and without
// which no process may enter it.
func inheritCpuset(root, group string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(root, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // another hierarchy, or v2, where it is inherited
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(group, file), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// delegate lets v2's group use every controller that the root has.
func delegate(root, group string) error {
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, controller := range strings.Fields(string(controllers)) {
		for _, parent := range []string{root, group} {
			path := filepath.Join(parent, "cgroup.subtree_control")
			if err := os.WriteFile(path, []byte("+"+controller), 0o644); err != nil {
				return fmt.Errorf("enable the cgroup controller %s: %w", controller, err)
			}
		}
	}
	return nil
}

// Remove kills what is in the group and removes it, in every hierarchy. Only
// processes of a cluster whose supervisor is dead can still be there, on
// their way out.
func Remove(name string, bound time.Duration) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(bound)
	for {
		var failures []error
		for _, root := range roots {
			failures = append(failures, removeTree(filepath.Join(root, name)))
		}
		err := errors.Join(failures...)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroups are still in use after %s: %w", bound, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Exists tells whether any hierarchy has the group.
func Exists(name string) bool {
	roots, err := hierarchies()
	if err != nil {
		return false
	}
	for _, root := range roots {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil {
			return true
		}
	}
	return false
}

// removeTree removes a group and those within, deepest first.
func removeTree(group string) error {
	entries, err := os.ReadDir(group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var failures []error
	for _, entry := range entries {
		if entry.IsDir() {
			failures = append(failures, removeTree(filepath.Join(group, entry.Name())))
		}
	}
	killAll(group)
	if err := unix.Rmdir(group); err != nil && !errors.Is(err, unix.ENOENT) {
		failures = append(failures, fmt.Errorf("remove %s: %w", group, err))
	}
	return errors.Join(failures...)
}

func killAll(group string) {
	text, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		return // gone meanwhile; the removal says so
	}
	for _, field := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
