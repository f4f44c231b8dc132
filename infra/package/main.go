// Command package builds the zip that is deployed: dist/mailferry.zip for Linux on amd64.
package main

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"mailferry/infra/package/layout"
)

func main() {
	if err := run(context.Background(), "dist/mailferry.zip"); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, target string) error {
	root, err := layout.Root(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mailferry-package-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := layout.Build(ctx, root, dir, "linux", "amd64"); err != nil {
		return err
	}
	target = filepath.Join(root, target)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if err := write(target, dir); err != nil {
		return fmt.Errorf("write %s: %w", target, err)
	}
	info, err := os.Stat(target)
	if err == nil {
		fmt.Printf("%s, %.1f MB\n", target, float64(info.Size())/1e6)
	}
	return err
}

// write zips the folder. Unix modes are kept: the host needs the handler's x bit.
func write(target, dir string) (err error) {
	out, err := os.Create(target)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := out.Close(); err == nil {
			err = closeErr
		}
	}()
	z := zip.NewWriter(out)
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		return add(z, dir, path, info)
	}); err != nil {
		return err
	}
	return z.Close()
}

func add(z *zip.Writer, dir, path string, info os.FileInfo) error {
	header, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	if header.Name, err = filepath.Rel(dir, path); err != nil {
		return err
	}
	header.Name, header.Method = filepath.ToSlash(header.Name), zip.Deflate
	w, err := z.CreateHeader(header)
	if err != nil {
		return err
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}
