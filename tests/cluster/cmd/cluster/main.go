// Command cluster brings a one-node Kubernetes up and takes it down. The
// script beside this module builds it and runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"maas-mirror/tests/cluster/internal/host"
	"maas-mirror/tests/cluster/internal/layout"
	"maas-mirror/tests/cluster/internal/node"
)

const exitUsage = 64

// arguments are the commands, with how many arguments each takes. The last two
// are for the cluster's own processes.
var arguments = map[string]int{
	"up": 0, "down": 0, "status": 0, "reboot": 0, "env": 0, "load": 2,
	"init": 0, "manage": 0,
}

var errUsage = errors.New("see: cluster --help")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
	if errors.Is(err, errUsage) {
		os.Exit(exitUsage)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	verb := args[0]
	flags := flag.NewFlagSet(verb, flag.ContinueOnError)
	folder := flags.String("dir", "", "")
	keep := flags.Bool("keep", false, "")
	flags.SetOutput(os.Stderr)
	flags.Usage = func() {}
	rest, err := parse(flags, args[1:])
	if err != nil {
		return errors.Join(err, errUsage)
	}
	wanted, known := arguments[verb]
	if !known || len(rest) != wanted || (*keep && verb != "down") {
		return fmt.Errorf("not understood: %v: %w", args, errUsage)
	}
	if *folder == "" {
		standard, err := layout.Default()
		if err != nil {
			return err
		}
		*folder = string(standard)
	}
	dir, err := layout.New(*folder)
	if err != nil {
		return err
	}
	cluster := host.Cluster{Dir: dir, Programs: os.Getenv("CLUSTER_PROGRAMS"), Helm: os.Getenv("HELM")}
	switch verb {
	case "up":
		return cluster.Up(ctx)
	case "down":
		return cluster.Down(*keep)
	case "status":
		return cluster.Status(ctx)
	case "reboot":
		return cluster.Reboot(ctx)
	case "env":
		return cluster.PrintEnv(os.Stdout)
	case "load":
		return cluster.Load(ctx, rest[0], rest[1])
	case "init":
		return node.Init(dir)
	default:
		return node.Manage(ctx, dir, cluster.Programs)
	}
}

// parse takes flags before, between and after the other arguments.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		args = flags.Args()
		if len(args) == 0 {
			return rest, nil
		}
		rest, args = append(rest, args[0]), args[1:]
	}
}
