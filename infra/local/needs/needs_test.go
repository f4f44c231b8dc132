package needs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fakePath puts a folder of shell scripts in front of PATH.
func fakePath(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDebianInstallsOnlyWhatIsMissing(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("TMPDIR", t.TempDir())
	fakePath(t, map[string]string{
		"dpkg-query": `case "$4" in here) printf 'install ok installed';; gone) printf 'deinstall ok config-files';; *) exit 1;; esac`,
		"apt-get":    `echo "$DEBIAN_FRONTEND $*" >> ` + log,
	})
	if err := Debian(t.Context(), "here"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(log); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("apt-get ran for an installed package: %v", err)
	}
	if os.Geteuid() != 0 {
		if err := Debian(t.Context(), "gone"); err == nil {
			t.Fatal("installing as an ordinary user gave no error")
		}
		return
	}
	if err := Debian(t.Context(), "here", "gone", "never"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(log)
	want := "noninteractive update -q\nnoninteractive install -y -q --no-install-recommends gone never\n"
	if err != nil || string(got) != want {
		t.Fatalf("apt-get ran as %q, want %q (%v)", got, want, err)
	}
}

func TestNPMRunsWhenTheLockFileIsNewer(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(t.TempDir(), "log")
	fakePath(t, map[string]string{
		"npm": `echo "$*" >> ` + log + `; mkdir -p node_modules; echo {} > node_modules/.package-lock.json`,
	})
	if err := NPM(t.Context(), dir); err == nil {
		t.Fatal("a folder without package-lock.json gave no error")
	}
	lockFile := filepath.Join(dir, "package-lock.json")
	if err := os.WriteFile(lockFile, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	runs := func() int {
		t.Helper()
		if err := NPM(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return len(got) / len("ci --no-audit --no-fund\n")
	}
	if n := runs(); n != 1 {
		t.Fatalf("npm ran %d times at first", n)
	}
	if n := runs(); n != 1 {
		t.Fatalf("npm ran %d times with fresh node_modules", n)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(lockFile, later, later); err != nil {
		t.Fatal(err)
	}
	if n := runs(); n != 2 {
		t.Fatalf("npm ran %d times after package-lock.json changed", n)
	}
}

func TestLockWaitsAndEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.Canceled) {
		t.Fatalf("a held lock gave %v", err)
	}
	unlock()
	unlock, err = lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
