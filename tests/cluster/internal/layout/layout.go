// Package layout says where everything of a cluster lives: all of it in one
// folder, so that removing the folder removes the cluster's data.
package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names that are the same in every cluster.
const (
	NodeName     = "maas-test-node"
	StorageClass = "local"
	Provisioner  = "cluster.local/volumes"
	DNSDomain    = "cluster.local"
	PauseImage   = "cluster.local/pause:1"
)

// Dir is a cluster's folder, an absolute path.
type Dir string

// Default is the folder of the cluster that no --dir names.
func Default() (Dir, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the cluster: %w; name one with --dir", err)
	}
	return Dir(filepath.Join(cache, "maas-mirror-tests", "cluster")), nil
}

// New makes path absolute and free of symbolic links, and creates it.
func New(path string) (Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(absolute, 0o755); err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(real, " \t\n:,\"'\\") {
		return "", fmt.Errorf("the folder's name %q has a space, quote, colon or comma, which mount options cannot carry; "+
			"name another with --dir", real)
	}
	return Dir(real), nil
}

// ID is a short name of the folder, for things outside it (cgroups).
func (d Dir) ID() string {
	sum := sha256.Sum256([]byte(d))
	return hex.EncodeToString(sum[:4])
}

// Cgroup is the name of the cgroup, in each hierarchy, above all pods.
func (d Dir) Cgroup() string { return "maas-test-cluster-" + d.ID() }

func (d Dir) in(parts ...string) string {
	return filepath.Join(append([]string{string(d)}, parts...)...)
}

// Lock is held while a command changes the cluster.
func (d Dir) Lock() string { return d.in("lock") }

// Running is held by the supervisor for as long as it lives, and names its
// process id.
func (d Dir) Running() string { return d.in("running") }

// Env holds the lines that up prints.
func (d Dir) Env() string { return d.in("env") }

// Kubeconfig is the administrator's, for use from the host.
func (d Dir) Kubeconfig() string { return d.in("kubeconfig") }

// Network records the address range.
func (d Dir) Network() string { return d.State("network") }

// Log is one component's log.
func (d Dir) Log(name string) string { return d.in("logs", name) }

// AuditLog is the API server's record of all writes.
func (d Dir) AuditLog() string { return d.Log("audit.log") }

// State is a path beneath what survives a reboot and `down --keep`.
func (d Dir) State(parts ...string) string {
	return d.in(append([]string{"state"}, parts...)...)
}

// Volumes holds the data of persistent volumes.
func (d Dir) Volumes() string { return d.State("volumes") }

// HasState tells whether an earlier cluster's data is there.
func (d Dir) HasState() bool {
	_, err := os.Stat(d.State())
	return err == nil
}

// Remove removes all of the cluster's files and, when nothing else is in it,
// the folder. With keepState only what a later up makes again.
func (d Dir) Remove(keepState bool) error {
	var failures []error
	paths := []string{d.Env(), d.Kubeconfig(), d.Running()}
	if !keepState {
		paths = append(paths, d.State(), d.in("logs"), d.Lock())
	}
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			failures = append(failures, err)
		}
	}
	if !keepState {
		os.Remove(string(d)) // fails, as it should, while other files are in it
	}
	return errors.Join(failures...)
}
