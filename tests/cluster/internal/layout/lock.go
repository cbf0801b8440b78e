package layout

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait bounds how long a command waits for another one on this cluster.
const lockWait = 5 * time.Minute

// Acquire waits until no other command works on this cluster. The lock ends
// when the returned file is closed, or with the process.
func (d Dir) Acquire() (*os.File, error) {
	deadline := time.Now().Add(lockWait)
	told := false
	for {
		file, err := os.OpenFile(d.Lock(), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(file, d.Lock()) {
			return file, nil
		}
		file.Close()
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", d.Lock(), err)
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("another command still works on the cluster in %s after %s", d, lockWait)
		}
		if !told {
			fmt.Fprintf(os.Stderr, "cluster: waiting for another command on %s\n", d)
			told = true
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// sameFile is false when path was removed or replaced after file was opened
// (`down` removes its own lock).
func sameFile(file *os.File, path string) bool {
	opened, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(opened, named)
}

// Supervisor is the process id of the running supervisor, or 0 when none
// runs. It goes by the lock and not by the number, which another process may
// have by now.
func (d Dir) Supervisor() (int, error) {
	file, err := os.OpenFile(d.Running(), os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return 0, nil
	}
	if !errors.Is(err, unix.EWOULDBLOCK) {
		return 0, fmt.Errorf("lock %s: %w", d.Running(), err)
	}
	text, err := os.ReadFile(d.Running())
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%s does not name the supervisor's process: %w", d.Running(), err)
	}
	return pid, nil
}
