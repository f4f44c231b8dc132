// Package kerberos runs an MIT Kerberos KDC as a child process: the realm of source servers that take
// GSSAPI, for the tests.
package kerberos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"mailferry/infra/local/needs"
	"mailferry/infra/local/ports"
)

// Options configure a KDC.
type Options struct {
	// Realm is its name, in capitals. Default EXAMPLE.TEST.
	Realm string

	// Logger gets the KDC's start and stop. Default: nothing is logged.
	Logger *slog.Logger
}

// KDC is a running key distribution centre with its database in a temporary folder.
type KDC struct {
	realm  string
	dir    string
	port   int
	logger *slog.Logger
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process ended
	stop   sync.Once
	ended  error
}

// Start makes a realm and runs its KDC until Stop. It installs the Debian packages if need be.
func Start(ctx context.Context, o Options) (*KDC, error) {
	if err := needs.Debian(ctx, "krb5-kdc", "krb5-admin-server"); err != nil {
		return nil, err
	}
	k := &KDC{realm: o.Realm, logger: o.Logger, exited: make(chan struct{})}
	if k.realm == "" {
		k.realm = "EXAMPLE.TEST"
	}
	if k.logger == nil {
		k.logger = slog.New(slog.DiscardHandler)
	}
	if err := k.prepare(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the KDC: %w", err), os.RemoveAll(k.dir))
	}
	if err := k.run(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the KDC: %w", err), k.Stop())
	}
	return k, nil
}

// prepare writes the configuration and makes the database.
func (k *KDC) prepare(ctx context.Context) error {
	var err error
	if k.dir, err = os.MkdirTemp("", "kerberos-"); err != nil {
		return err
	}
	if err := os.Chmod(k.dir, 0o755); err != nil { // servers read krb5.conf and their keytab as other users
		return err
	}
	free, err := ports.Free(1)
	if err != nil {
		return err
	}
	k.port = free[0]
	conf := fmt.Sprintf("[libdefaults]\n default_realm = %[1]s\n dns_lookup_kdc = false\n dns_lookup_realm = false\n dns_canonicalize_hostname = false\n rdns = false\n"+
		"[realms]\n %[1]s = {\n  kdc = %[2]s\n }\n", k.realm, k.Addr())
	kdcConf := fmt.Sprintf("[kdcdefaults]\n kdc_listen = %[2]s\n kdc_tcp_listen = %[2]s\n[realms]\n %[1]s = {\n  database_name = %[3]s/principal\n  key_stash_file = %[3]s/stash\n"+
		"  supported_enctypes = aes256-cts:normal aes128-cts:normal\n  max_life = 1h\n }\n[logging]\n kdc = FILE:%[3]s/kdc.log\n", k.realm, k.Addr(), k.dir)
	err = errors.Join(os.WriteFile(k.Conf(), []byte(conf), 0o644), os.WriteFile(filepath.Join(k.dir, "kdc.conf"), []byte(kdcConf), 0o600))
	if err != nil {
		return err
	}
	return k.tool(ctx, "kdb5_util", "create", "-s", "-r", k.realm, "-P", "of the database, which lives as long as the test")
}

// run starts the process and waits until it takes connections.
func (k *KDC) run(ctx context.Context) error {
	k.cmd = exec.Command("/usr/sbin/krb5kdc", "-n", "-r", k.realm, "-P", filepath.Join(k.dir, "pid"))
	k.cmd.Env = k.env()
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := k.cmd.Start(); err != nil {
		k.cmd = nil
		return err
	}
	go func() {
		_ = k.cmd.Wait() // Stop kills it
		close(k.exited)
	}()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	limit := time.NewTimer(2 * time.Minute) // a busy machine takes long
	defer limit.Stop()
	for {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", k.Addr())
		if err == nil {
			k.logger.InfoContext(ctx, "kdc runs", "pid", k.cmd.Process.Pid, "dir", k.dir)
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-k.exited:
			log, _ := os.ReadFile(filepath.Join(k.dir, "kdc.log"))
			return fmt.Errorf("it ended: %s", log)
		case <-limit.C:
			return fmt.Errorf("it does not listen: %w", err)
		case <-retry.C:
		}
	}
}

// Stop ends the KDC and removes its folder. More calls give the same result.
func (k *KDC) Stop() error {
	k.stop.Do(func() {
		if k.cmd != nil {
			_ = k.cmd.Process.Kill() // its database goes with it
			<-k.exited
		}
		k.ended = os.RemoveAll(k.dir)
	})
	return k.ended
}

// Realm returns the realm's name.
func (k *KDC) Realm() string { return k.realm }

// Addr returns where the KDC listens, by UDP and TCP.
func (k *KDC) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(k.port)) }

// Conf returns the path of a krb5.conf(5) for the realm.
func (k *KDC) Conf() string { return filepath.Join(k.dir, "krb5.conf") }

// AddUser adds a principal with a password.
func (k *KDC) AddUser(ctx context.Context, name, password string) error {
	return k.tool(ctx, "kadmin.local", "-r", k.realm, "addprinc", "-pw", password, "+requires_preauth", name)
}

// Modify changes a principal, with options of kadmin's modprinc: "-allow_tix" locks it, "-pwexpire",
// "yesterday" lets its password expire.
func (k *KDC) Modify(ctx context.Context, name string, options ...string) error {
	args := append([]string{"-r", k.realm, "modprinc"}, options...)
	return k.tool(ctx, "kadmin.local", append(args, name)...)
}

// Keytab adds a principal with a random key, unless it is there, and returns the path of a keytab
// that holds its key.
func (k *KDC) Keytab(ctx context.Context, principal string) (string, error) {
	if err := k.tool(ctx, "kadmin.local", "-r", k.realm, "addprinc", "-randkey", "+requires_preauth", principal); err != nil {
		return "", err
	}
	path := filepath.Join(k.dir, strings.NewReplacer("/", "-").Replace(principal)+".keytab")
	if err := k.tool(ctx, "kadmin.local", "-r", k.realm, "ktadd", "-k", path, "-norandkey", principal); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o644)
}

func (k *KDC) env() []string {
	return append(os.Environ(), "KRB5_CONFIG="+k.Conf(), "KRB5_KDC_PROFILE="+filepath.Join(k.dir, "kdc.conf"))
}

// tool runs one of the administrator's tools on the database.
func (k *KDC) tool(ctx context.Context, name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/usr/sbin/"+name, args...)
	cmd.Env = k.env()
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", name, err, out.Bytes())
	}
	// kadmin.local reports what it could not do with status 0.
	if text := out.String(); strings.Contains(text, "while ") {
		return fmt.Errorf("run %s: %s", name, text)
	}
	return nil
}
