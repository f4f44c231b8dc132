package dovecot

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// owner is the system user that mail belongs to. Dovecot refuses to read mail as root.
type owner struct {
	name, group string
	uid, gid    int
}

// mailOwner returns Debian's mail user for root, and otherwise the user that runs this.
func mailOwner() (owner, error) {
	u, err := user.Current()
	if err != nil {
		return owner{}, err
	}
	if os.Geteuid() == 0 {
		if u, err = user.Lookup("mail"); err != nil {
			return owner{}, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return owner{}, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return owner{}, err
	}
	group, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return owner{}, err
	}
	return owner{name: u.Username, group: group.Name, uid: uid, gid: gid}, nil
}

// own gives path to the owner.
func (o owner) own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, o.uid, o.gid)
}

// passable checks that other users can pass through dir and what is above it.
func passable(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("dovecot reads mail as an ordinary user, who cannot pass through %s: choose a folder elsewhere, such as below /var/lib", dir)
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

// config is dovecot.conf for Dovecot 2.3.
func (s *Server) config(tlsPort, plainPort int) string {
	login, internal := "dovenull", "dovecot"
	if os.Geteuid() != 0 {
		login, internal = s.owner.name, s.owner.name
	}
	return fmt.Sprintf(`
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/dovecot.log
instance_name = %[1]s
protocols = imap
listen = 127.0.0.1

ssl = yes
ssl_cert = <%[1]s/server.pem
ssl_key = <%[1]s/server.key
%[9]s
auth_failure_delay = 0
auth_cache_size = 0

default_login_user = %[6]s
default_internal_user = %[7]s
default_internal_group = %[8]s
default_client_limit = 4096
default_process_limit = 1024
first_valid_uid = 1
mail_uid = %[2]s
mail_gid = %[3]s
mail_home = %[1]s/mail/%%u
mail_location = maildir:%[1]s/mail/%%u
maildir_very_dirty_syncs = yes
mailbox_list_index = no
mail_max_userip_connections = %[13]d

%[10]s
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %[1]s/users
}
userdb {
  driver = static
  args = uid=%[2]s gid=%[3]s home=%[1]s/mail/%%u
}
%[11]sservice anvil {
  chroot =
  # No delay of every login from an address after a wrong password: all come from one.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service imap-login {
  chroot =
  service_count = 0
  client_limit = 2048
  process_min_avail = 1
  inet_listener imap {
    port = %[5]d
  }
  inet_listener imaps {
    port = %[4]d
    ssl = yes
  }
}
service imap {
  process_limit = 1024
}
%[12]s
service stats {
  chroot =
}
`, s.dir, s.owner.name, s.owner.group, tlsPort, plainPort, login, internal, s.internalGroup(internal), s.signIn.settings(s.dir), s.signIn.databases(s.dir), s.layout.namespaces(s.dir), s.compression(), s.perUser)
}

// compression offers COMPRESS=DEFLATE: https://doc.dovecot.org/2.3/configuration_manual/zlib_plugin/.
func (s *Server) compression() string {
	if !s.squeeze {
		return ""
	}
	return "protocol imap {\n  mail_plugins = $mail_plugins imap_zlib\n}"
}

func (s *Server) internalGroup(user string) string {
	if os.Geteuid() == 0 {
		return user
	}
	return s.owner.group
}

func (s *Server) usersFile() string { return filepath.Join(s.dir, "users") }
