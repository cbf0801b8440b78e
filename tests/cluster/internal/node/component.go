package node

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"time"

	"maas-mirror/tests/cluster/internal/layout"
)

const (
	// restartDelay keeps a component that fails at once from filling its log.
	restartDelay = time.Second
	// A component that ends so often in a row, each time within brief, will
	// not recover.
	failures = 8
	brief    = 10 * time.Second
)

// component is one program that runs for as long as the node does.
type component struct {
	name    string
	program string
	args    []string
	env     []string
}

// keep runs the component and starts it again whenever it ends, until ctx is
// done. Its error is that there is no point in going on.
func (c component) keep(ctx context.Context, dir layout.Dir) error {
	for inRow := 0; ; {
		begin := time.Now()
		err := c.run(ctx, dir)
		if ctx.Err() != nil {
			return nil
		}
		if inRow++; time.Since(begin) > brief {
			inRow = 1
		}
		if inRow == failures {
			return fmt.Errorf("%s ended %d times in a row: %w; see %s", c.name, failures, err, dir.Log(c.name+".log"))
		}
		log.Printf("%s ended (%v); starting it again", c.name, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

func (c component) run(ctx context.Context, dir layout.Dir) error {
	output, err := os.OpenFile(dir.Log(c.name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	fmt.Fprintf(output, "== started %s\n", time.Now().Format(time.RFC3339))
	command := exec.CommandContext(ctx, c.program, c.args...)
	command.Args[0] = c.name // the multi-call program goes by it
	command.Env = append(os.Environ(), c.env...)
	command.Stdout, command.Stderr = output, output
	return command.Run()
}
