package courier

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
)

// imapd looks at every sign-in whether Gamin's server is there, by its socket, and waits 1.25 s for one that
// is not (gamin_connect_unix_socket in libgamin/gam_api.c: 25 times 50 ms). The socket's name has no file, so
// it is the same in every root, but the owner's name is part of it.

// ownerName is what the owner of mail is called in this server's root.
func (s *Server) ownerName() string { return filepath.Base(s.dir) }

// playGamin listens where imapd looks, and says nothing.
func (s *Server) playGamin() error {
	name := "@/tmp/fam-" + s.ownerName() + "-"
	const pathLength = 108 // of sockaddr_un, all of which gamin sends
	name += strings.Repeat("\x00", pathLength-len(name))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	if err != nil {
		return fmt.Errorf("listen in place of Gamin: %w", err)
	}
	s.gamin = l
	s.playing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.playing.Go(func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	return nil
}
