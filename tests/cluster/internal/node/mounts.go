package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"maas-mirror/tests/cluster/internal/cgroup"
	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
)

// scratch is a tmpfs, so what lies there does not survive a reboot, as on any
// node: sockets, network namespaces, the runtime's state.
const scratch = "/run"

// tunables are the kernel's settings as the kubelet wants them. They belong to
// the whole machine; files with these contents stand before them, so that the
// kubelet finds nothing to change.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func (m mount) do() error {
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s %s: %w", m.kind, m.target, err)
	}
	return nil
}

// isolate gives the mount namespace its own /proc, /sys, /run and the few
// folders with fixed names that Kubernetes and CNI write to, so that nothing
// of the host's is changed and nothing is left on it.
func isolate(dir layout.Dir, ranges network.Range) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// Opened before anything is mounted above them, should they lie beneath
	// one of the folders that are replaced.
	kept := map[string]*os.File{}
	for _, path := range []string{string(dir), filepath.Dir(self), os.Getenv("CLUSTER_PROGRAMS")} {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		kept[path] = file
	}
	if err := systemMounts(dir); err != nil {
		return err
	}
	for path, file := range kept {
		if !hidden(path) {
			continue
		}
		if err := bind(fmt.Sprintf("/proc/self/fd/%d", file.Fd()), path, true); err != nil {
			return err
		}
	}
	return nodeFiles(dir, ranges)
}

func hidden(path string) bool {
	for _, parent := range []string{scratch, "/var/run", "/var/lib", "/var/log"} {
		if strings.HasPrefix(path, parent+"/") {
			return true
		}
	}
	return false
}

func systemMounts(dir layout.Dir) error {
	held := filepath.Join(scratch, "cgroup")
	steps := []func() error{
		mount{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE}.do,
		mount{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""}.do,
		mount{"tmpfs", scratch, "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"}.do,
		// A new sysfs shows this network namespace's links; the cgroups that
		// were mounted in the old one are carried over.
		func() error { return bind(cgroup.Root, held, true) },
		mount{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""}.do,
		mount{source: held, target: cgroup.Root, flags: unix.MS_MOVE}.do,
		func() error { return overlay("/var/lib") },
		func() error { return bind(dir.State("var-log"), "/var/log", true) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// bind mounts source, with what is mounted beneath it, on target, which it
// makes.
func bind(source, target string, folder bool) error {
	if folder {
		if err := errors.Join(mkdirUnlessLink(source), os.MkdirAll(target, 0o755)); err != nil {
			return err
		}
	}
	return mount{source: source, target: target, flags: unix.MS_BIND | unix.MS_REC}.do()
}

func mkdirUnlessLink(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return os.MkdirAll(path, 0o755)
}

// overlay lets path be written to without changing the host's.
func overlay(path string) error {
	base := filepath.Join(scratch, "overlay", strings.ReplaceAll(path, "/", "-"))
	upper, work := filepath.Join(base, "upper"), filepath.Join(base, "work")
	if err := errors.Join(os.MkdirAll(upper, 0o755), os.MkdirAll(work, 0o755)); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)
	return mount{"overlay", path, "overlay", 0, options}.do()
}

// nodeFiles puts files of the node's own in the place of the host's.
func nodeFiles(dir layout.Dir, ranges network.Range) error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return err
	}
	if err := os.WriteFile(dir.State("boot-id"), boot, 0o644); err != nil {
		return err
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", ranges.Node(), layout.NodeName)
	files := map[string]string{
		"/etc/hosts": hosts,
		// A new one at every start is how the kubelet knows of a reboot.
		"/proc/sys/kernel/random/boot_id": string(boot),
	}
	for name, value := range tunables {
		files[filepath.Join("/proc/sys", name)] = value + "\n"
	}
	for target, content := range files {
		source := filepath.Join(scratch, "files", strings.ReplaceAll(target, "/", "-"))
		if err := os.MkdirAll(filepath.Dir(source), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(source, []byte(content), 0o644); err != nil {
			return err
		}
		if err := bind(source, target, false); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte(layout.NodeName))
}
