package node

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"maas-mirror/tests/cluster/internal/image"
	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/network"
	"maas-mirror/tests/cluster/internal/provision"
)

// startBound is how long the node waits for a part that others need.
const startBound = 2 * time.Minute

// Manage runs every component, from the folder programs, until ctx is done.
func Manage(ctx context.Context, dir layout.Dir, programs string) error {
	ranges, err := network.Load(dir.Network())
	if err != nil {
		return err
	}
	p := plan{dir: dir, ranges: ranges, programs: programs}
	if err := p.write(); err != nil {
		return fmt.Errorf("write the components' configuration: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.bringUp(ctx, group) })
	return group.Wait()
}

// bringUp starts the components, each as soon as those it cannot do without
// are there, and then serves volumes.
func (p plan) bringUp(ctx context.Context, group *errgroup.Group) error {
	start := func(components ...component) {
		for _, c := range components {
			group.Go(func() error { return c.keep(ctx, p.dir) })
		}
	}
	start(p.etcd(), p.containerd(), p.registry(), p.apiserver())
	// The kubelet must not look for images before the pause image is there.
	if err := p.importPause(ctx); err != nil {
		return fmt.Errorf("import the pause image: %w", err)
	}
	start(p.kubelet())
	if err := p.awaitAPI(ctx); err != nil {
		return err
	}
	start(p.controllers(), p.scheduler(), p.proxy(), p.dns())
	if err := p.applyAddons(ctx); err != nil {
		return err
	}
	return provision.Run(ctx, p.pki("admin.kubeconfig"), p.dir.Volumes())
}

// until repeats try, for at most startBound, until it succeeds.
func until(ctx context.Context, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	log.Printf("waiting for %s", what)
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not after %s: %w", what, startBound, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func run(ctx context.Context, program string, args ...string) error {
	command := exec.CommandContext(ctx, program, args...)
	command.Args[0] = filepath.Base(program)
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, output)
	}
	return nil
}

func (p plan) importPause(ctx context.Context) error {
	archive := filepath.Join("/run", "pause.tar")
	err := image.Write(archive, layout.PauseImage, image.Image{
		Entrypoint: []string{"/pause"},
		User:       "65535",
		Files:      map[string]string{"/pause": filepath.Join(p.programs, "pause")},
	})
	if err != nil {
		return err
	}
	return until(ctx, "containerd", func() error {
		return run(ctx, "ctr", "--address", containerdSocket, "--namespace", "k8s.io", "images", "import", archive)
	})
}

func (p plan) kubectl(ctx context.Context, args ...string) error {
	return run(ctx, filepath.Join(p.programs, "kubectl"),
		append([]string{"--kubeconfig", p.pki("admin.kubeconfig")}, args...)...)
}

func (p plan) awaitAPI(ctx context.Context) error {
	return until(ctx, "the API server", func() error {
		return p.kubectl(ctx, "get", "--raw", "/readyz")
	})
}

func (p plan) applyAddons(ctx context.Context) error {
	return until(ctx, "the add-ons to be accepted", func() error {
		return p.kubectl(ctx, "apply", "--server-side", "--force-conflicts", "--filename", p.config("addons.yaml"))
	})
}

// write makes the folders, certificates and files that components read.
func (p plan) write() error {
	var failures []error
	for _, folder := range []string{"config", "volumes", "registry", "kubelet", "etcd", "containerd"} {
		failures = append(failures, os.MkdirAll(p.dir.State(folder), 0o700))
	}
	// A volume's data belongs to the pods' users.
	failures = append(failures, os.Chmod(p.dir.Volumes(), 0o755), p.writeCertificates(), p.writeConfigs())
	return errors.Join(failures...)
}
