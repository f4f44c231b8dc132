package courier

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Courier's programs know where they lie, where its settings lie and where its socket for passwords
// lies by absolute paths of the build. Each server therefore has a root of its own (chroot), with the
// package, the libraries, and nothing else.

// owner is the user and group that mail belongs to, as in Debian.
const owner = 8

// programs are those that run in the jail; what they link to is copied.
var programs = []string{
	"usr/bin/imapd", "usr/bin/couriertls", "usr/sbin/couriertcpd", "usr/lib/courier/courier/imaplogin",
	"usr/lib/courier/courier-authlib/authdaemond", "usr/lib/courier/courier-authlib/makedatprog",
	"usr/lib/courier-authlib/libauthuserdb.so.0",
}

// buildJail makes the root from the unpacked package.
func buildJail(jail, unpacked, ownerName string) error {
	if err := os.MkdirAll(filepath.Join(jail, "usr"), 0o755); err != nil {
		return err
	}
	for _, sub := range []string{"etc", "usr/bin", "usr/sbin", "usr/lib"} { // usr/share links to other packages
		out, err := exec.Command("cp", "-a", filepath.Join(unpacked, sub), filepath.Join(jail, sub)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("copy the package: %w\n%s", err, out)
		}
	}
	for _, name := range programs {
		if err := copyLibraries(jail, unpacked, name); err != nil {
			return err
		}
	}
	for _, dir := range []string{"dev", "tmp", "mail", "run/courier/authdaemon", "var/lib/courier"} {
		if err := os.MkdirAll(filepath.Join(jail, dir), 0o755); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		"etc/passwd":               "root:x:0:0::/:/bin/false\n" + ownerName + ":x:8:8::/:/bin/false\ncourier:x:8:8::/:/bin/false\n",
		"etc/group":                "root:x:0:\ncourier:x:8:\n",
		"etc/courier/authdaemonrc": "authmodulelist=\"authuserdb\"\nauthmodulelistorig=\"authuserdb\"\ndaemons=2\nauthdaemonvar=/run/courier/authdaemon\n",
	} {
		if err := os.WriteFile(filepath.Join(jail, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	const device = syscall.S_IFCHR | 0o666
	return errors.Join(
		os.Chmod(jail, 0o755),
		os.Chmod(filepath.Join(jail, "tmp"), 0o1777),
		os.Chown(filepath.Join(jail, "mail"), owner, owner),
		os.Chown(filepath.Join(jail, "var/lib/courier"), owner, owner),
		syscall.Mknod(filepath.Join(jail, "dev/null"), device, 1<<8|3),
		syscall.Mknod(filepath.Join(jail, "dev/urandom"), device, 1<<8|9),
	)
}

// copyLibraries copies what the dynamic linker finds for a program outside of the package.
func copyLibraries(jail, unpacked, program string) error {
	cmd := exec.Command("ldd", filepath.Join(unpacked, program))
	cmd.Env = []string{"LD_LIBRARY_PATH=" + filepath.Join(unpacked, "usr/lib"), "PATH=/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("ask for the libraries of %s: %w", program, err)
	}
	for _, word := range strings.Fields(string(out)) {
		if !strings.HasPrefix(word, "/") || strings.HasPrefix(word, unpacked) {
			continue
		}
		target := filepath.Join(jail, word)
		if _, err := os.Stat(target); err == nil {
			continue
		}
		if err := copyFile(target, word); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(target, source string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// writeUsers writes Courier's userdb (man makeuserdb) with all logins and passwords.
func (s *Server) writeUsers() error {
	var users, shadow bytes.Buffer
	for login, password := range s.passwords {
		sum := sha256.Sum256([]byte(password))
		fmt.Fprintf(&users, "%s\tuid=%d|gid=%d|home=/mail/%s|mail=/mail/%s/Maildir|_=\n", login, owner, owner, login, login)
		fmt.Fprintf(&shadow, "%s\tsystempw={SHA256}%s\n", login, base64.StdEncoding.EncodeToString(sum[:]))
	}
	for name, text := range map[string]*bytes.Buffer{"userdb.dat": &users, "userdbshadow.dat": &shadow} {
		text.WriteString(".\n") // the end, without which nothing is written
		path := "/etc/courier/" + name
		cmd := exec.Command("/usr/lib/courier/courier-authlib/makedatprog", "-", path+".tmp", path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.dir}
		cmd.Dir, cmd.Stdin = "/", text
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("write %s: %w\n%s", name, err, out)
		}
		if err := os.Chmod(filepath.Join(s.dir, path), 0o600); err != nil {
			return err
		}
	}
	return nil
}
