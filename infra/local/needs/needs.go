// Package needs installs what the local stack needs on the machine: Debian packages and the npm
// packages of a folder. It does nothing when they are there.
package needs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Debian installs the Debian packages that are missing. It needs root only when one is. Test
// binaries that run side by side wait for each other.
func Debian(ctx context.Context, pkgs ...string) error {
	if len(missing(ctx, pkgs)) == 0 {
		return nil
	}
	unlock, err := lock(ctx, filepath.Join(os.TempDir(), "mailferry-needs-debian.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	absent := missing(ctx, pkgs)
	if len(absent) == 0 {
		return nil
	}
	names := strings.Join(absent, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("install %s: this machine has no apt-get, install them by hand: %w", names, err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("install %s: not root; run: sudo apt-get install --no-install-recommends %s", names, names)
	}
	if err := run(ctx, "", "apt-get", "update", "-q"); err != nil {
		return fmt.Errorf("refresh the package lists for %s: %w", names, err)
	}
	args := append([]string{"install", "-y", "-q", "--no-install-recommends"}, absent...)
	if err := run(ctx, "", "apt-get", args...); err != nil {
		return fmt.Errorf("install %s: %w", names, err)
	}
	return nil
}

// missing returns those of pkgs that dpkg does not list as installed.
func missing(ctx context.Context, pkgs []string) []string {
	var absent []string
	for _, pkg := range pkgs {
		status, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Status}", pkg).Output()
		if err != nil || string(status) != "install ok installed" {
			absent = append(absent, pkg)
		}
	}
	return absent
}

// NPM runs "npm ci" in dir unless node_modules is at least as new as package-lock.json.
func NPM(ctx context.Context, dir string) error {
	fresh, err := npmFresh(dir)
	if err != nil || fresh {
		return err
	}
	whole, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("find the folder %s: %w", dir, err)
	}
	name := fmt.Sprintf("mailferry-needs-npm-%x.lock", sha256.Sum256([]byte(whole)))
	unlock, err := lock(ctx, filepath.Join(os.TempDir(), name))
	if err != nil {
		return err
	}
	defer unlock()
	if fresh, err := npmFresh(dir); err != nil || fresh {
		return err
	}
	if _, err := exec.LookPath("npm"); err != nil {
		if err := Debian(ctx, "npm"); err != nil {
			return err
		}
	}
	if err := run(ctx, dir, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
		return fmt.Errorf("install the npm packages of %s: %w", dir, err)
	}
	now := time.Now()
	if err := os.Chtimes(filepath.Join(dir, "node_modules", installed), now, now); err != nil {
		return fmt.Errorf("note the npm packages of %s: %w", dir, err)
	}
	return nil
}

// installed is the file that npm 7 and later writes last into node_modules, so an installation
// that was cut short does not count.
const installed = ".package-lock.json"

func npmFresh(dir string) (bool, error) {
	wanted, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return false, fmt.Errorf("look for package-lock.json: %w", err)
	}
	have, err := os.Stat(filepath.Join(dir, "node_modules", installed))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for node_modules: %w", err)
	}
	return !have.ModTime().Before(wanted.ModTime()), nil
}

// run runs a command and puts the end of its output into the error.
func run(ctx context.Context, dir, name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		tail := out.Bytes()
		if len(tail) > 2000 {
			tail = tail[len(tail)-2000:]
		}
		return fmt.Errorf("run %s %s: %w\n%s", name, strings.Join(args, " "), err, tail)
	}
	return nil
}

// lock takes an exclusive flock on path, polling so that ctx ends the wait.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the installation lock: %w", err)
	}
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for another installation: %w", context.Cause(ctx))
		case <-retry.C:
		}
	}
}
