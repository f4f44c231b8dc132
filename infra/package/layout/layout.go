// Package layout lays the app out as the Functions host wants it: host.json, the handler's
// executable, and one folder per function beside them. The host finds a function.json only one
// level below host.json, so functions/* moves up.
package layout

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root returns the repository's folder: that of go.mod.
func Root(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Build compiles the handler for the given platform, without C, or ("") for this machine, and lays everything out
// in dir, which may exist. Functions that are gone from the repository are removed from dir.
func Build(ctx context.Context, root, dir, goos, goarch string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("lay out app: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(dir, "handler"), "./handlers")
	build.Dir, build.Stderr = root, os.Stderr
	if goos != "" {
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	}
	if err := build.Run(); err != nil {
		return fmt.Errorf("build handler: %w", err)
	}
	if err := copyFile(filepath.Join(root, "host.json"), filepath.Join(dir, "host.json")); err != nil {
		return err
	}
	if err := removeFunctions(dir); err != nil {
		return err
	}
	return copyFunctions(filepath.Join(root, "functions"), dir)
}

func removeFunctions(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "*", "function.json"))
	for _, f := range old {
		if err == nil {
			err = os.RemoveAll(filepath.Dir(f))
		}
	}
	if err != nil {
		return fmt.Errorf("lay out app: %w", err)
	}
	return nil
}

func copyFunctions(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		return copyFile(path, filepath.Join(to, rel))
	})
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(to), 0o755)
	}
	if err == nil {
		err = os.WriteFile(to, content, 0o644)
	}
	if err != nil {
		return fmt.Errorf("lay out app: %w", err)
	}
	return nil
}
