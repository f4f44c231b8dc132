package cyrus

import (
	"fmt"
	"os"
	"path/filepath"
)

// imapdConf is imapd.conf for Cyrus 3.6. What it would rewrite by itself is switched off: 8-bit
// octets in headers become "X" by default (munge8bit).
func (s *Server) imapdConf() string {
	return fmt.Sprintf(`configdirectory: %[1]s/conf
defaultpartition: default
partition-default: %[1]s/spool
cyrus_user: %[2]s
admins: %[3]s
servername: localhost
unixhierarchysep: %[4]t
altnamespace: %[5]t
munge8bit: no
autocreate_quota: -1
allowplaintext: yes
sasl_mech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 NTLM
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: %[1]s/sasldb2
lmtpsocket: %[1]s/sock/lmtp
idlesocket: %[1]s/sock/idle
notifysocket: %[1]s/sock/notify
tls_server_cert: %[1]s/server.pem
tls_server_key: %[1]s/server.key
tls_session_timeout: 0
maxlogins_per_host: %[6]d
`, s.dir, s.owner, admin, !s.names.Dots, !s.names.Classic, s.perAddress)
}

func (s *Server) cyrusConf(tlsPort, plainPort int) string {
	imapd := filepath.Join(s.root, "usr/lib/cyrus/bin/imapd") + " -C " + s.conf() + " -U 30"
	return fmt.Sprintf(`START { }
SERVICES {
  imaps cmd="%[1]s -s" listen="127.0.0.1:%[2]d" prefork=0 proto=tcp4
  imap cmd="%[1]s" listen="127.0.0.1:%[3]d" prefork=0 proto=tcp4
}
EVENTS { }
`, imapd, tlsPort, plainPort)
}

func (s *Server) conf() string { return filepath.Join(s.dir, "imapd.conf") }

// write writes a file that the server's user may read.
func (s *Server) write(name, content string) error {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return err
	}
	return s.own(path)
}

func (s *Server) own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(path, s.uid, s.gid)
}
