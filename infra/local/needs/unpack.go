package needs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Unpacked returns a folder that holds the files of Debian packages which are not installed: servers
// that conflict with one another on one machine, or whose installation starts services. The libraries
// that they depend on are installed. The folder is kept for the next time.
func Unpacked(ctx context.Context, pkgs ...string) (dir string, err error) {
	parent := filepath.Join(os.TempDir(), "mailferry-unpacked")
	dir = filepath.Join(parent, strings.Join(pkgs, "+"))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // its libraries were installed before it was made
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make a folder for packages: %w", err)
	}
	unlock, err := lock(ctx, parent+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := unpack(ctx, parent, dir, pkgs); err != nil {
		return "", fmt.Errorf("unpack %s: %w", strings.Join(pkgs, " "), err)
	}
	return dir, nil
}

func unpack(ctx context.Context, parent, dir string, pkgs []string) error {
	libraries, err := libraries(ctx, pkgs)
	if err != nil {
		return err
	}
	if err := Debian(ctx, libraries...); err != nil {
		return err
	}
	work, err := os.MkdirTemp(parent, "work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := run(ctx, work, "apt-get", append([]string{"download", "-q"}, pkgs...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(files) != len(pkgs) {
		return errors.Join(err, fmt.Errorf("%d of %d packages came", len(files), len(pkgs)))
	}
	root := filepath.Join(work, "root")
	for _, file := range files {
		if err := run(ctx, work, "dpkg-deb", "-x", file, root); err != nil {
			return err
		}
	}
	return os.Rename(root, dir)
}

// libraries returns the libraries that packages depend on, however Debian's release names them.
func libraries(ctx context.Context, pkgs []string) ([]string, error) {
	list := func() ([]byte, error) {
		args := []string{"depends", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"}
		return exec.CommandContext(ctx, "apt-cache", append(args, pkgs...)...).Output()
	}
	out, err := list()
	if err != nil || len(out) == 0 {
		if err := run(ctx, "", "apt-get", "update", "-q"); err != nil {
			return nil, err
		}
		if out, err = list(); err != nil {
			return nil, fmt.Errorf("ask what %s need: %w", strings.Join(pkgs, " "), err)
		}
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "|") // one of several that would do
		if name, ok := strings.CutPrefix(line, "Depends: lib"); ok {
			found = append(found, "lib"+name)
		}
	}
	return found, nil
}
