package imapsource

import (
	"bufio"
	"compress/flate"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/faults"
	"mailferry/shared/migrate"
)

// TestDovecotCompresses reads the same mail as without, over every security, with fewer octets.
func TestDovecotCompresses(t *testing.T) {
	server, err := dovecot.Start(t.Context(), dovecot.Options{Compress: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	if err := server.AddUser("u", "pw"); err != nil {
		t.Fatal(err)
	}
	if err := server.Fill(t.Context(), "u", sample()); err != nil {
		t.Fatal(err)
	}
	for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecuritySTARTTLS, migrate.SecurityNone} {
		read := func(setting migrate.Compression) (mail []string, octets int64) {
			e := endpoint(server, security)
			proxy, err := faults.StartProxy(t.Context(), faults.ProxyOptions{Name: "imap", Upstream: fmt.Sprintf("127.0.0.1:%d", e.Port)})
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			fmt.Sscanf(proxy.Addr(), "127.0.0.1:%d", &e.Port)
			e.Compress = setting
			s := dial(t, e)
			defer s.Close()
			mail = fingerprints(t, s)
			_, octets = proxy.Octets()
			return mail, octets
		}
		plain, much := read(migrate.CompressOff)
		same, little := read(migrate.CompressAuto)
		if !slices.Equal(plain, same) || len(plain) != len(sample()) {
			t.Errorf("%s: compressed, the mail is\n%s\nand else\n%s", security, strings.Join(same, "\n"), strings.Join(plain, "\n"))
		}
		if little > much/4 {
			t.Errorf("%s: %d octets compressed, %d else", security, little, much)
		}
	}
}

const compressing = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR COMPRESS=DEFLATE] hello"

// squeezed answers COMPRESS, and everything behind it compressed: with the answer to the next command
// when that comes.
func squeezed(say func(w io.Writer, tag, command string) bool) hook {
	return func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, "AUTHENTICATE") {
			p.send("%s OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\r\n", tag)
			return true
		}
		if command != "COMPRESS DEFLATE" {
			return false
		}
		p.send("%s OK compressed from here\r\n", tag)
		lines := bufio.NewReader(flate.NewReader(p.lines))
		out, _ := flate.NewWriter(p.Conn, flate.BestCompression)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				p.Close()
				return true
			}
			tag, command, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
			if !say(out, tag, command) {
				fmt.Fprintf(out, "%s OK done\r\n", tag)
			}
			out.Flush()
		}
	}
}

func TestCompressionRefused(t *testing.T) {
	for _, answer := range []string{"NO [COMPRESSIONACTIVE] TLS does it", "BAD what"} {
		s := dial(t, scripted(t, compressing, func(p *peer, tag, command string) bool {
			switch {
			case strings.HasPrefix(command, "AUTHENTICATE"):
				p.send("%s OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\r\n", tag)
			case command == "COMPRESS DEFLATE":
				p.send("%s %s\r\n", tag, answer)
			default:
				return false
			}
			return true
		}))
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Errorf("after %q: %v", answer, err)
		}
	}
}

func TestCompressionIsAskedForOnlyWhereOffered(t *testing.T) {
	for setting, greeting := range map[migrate.Compression]string{migrate.CompressOff: compressing, migrate.CompressAuto: hello} {
		e := scripted(t, greeting, func(_ *peer, _, command string) bool {
			if strings.HasPrefix(command, "COMPRESS") {
				t.Errorf("%s asks %q for compression", setting, greeting)
			}
			return false
		})
		e.Compress = setting
		dial(t, e)
	}
}

// TestDecompressionBomb sends a line that takes a thousandth of itself on the wire.
func TestDecompressionBomb(t *testing.T) {
	s := dial(t, scripted(t, compressing, squeezed(func(w io.Writer, tag, command string) bool {
		if strings.HasPrefix(command, "LIST") {
			io.WriteString(w, "* LIST () NIL ")
			for range 256 {
				if _, err := io.WriteString(w, strings.Repeat("x", 1<<20)); err != nil {
					break
				}
			}
			return true
		}
		return false
	})))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := s.Folders(t.Context())
	runtime.ReadMemStats(&after)
	wantKind(t, err, migrate.Unexpected)
	if err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("the error is %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

// TestCompressedStall gives up on a server that stops in the middle, and on one whose octets are no
// compressed ones.
func TestCompressedStall(t *testing.T) {
	for name, tail := range map[string]string{"silence": "", "noise": "\xff\xff\xff\xff\xff\xff"} {
		synctest.Test(t, func(t *testing.T) {
			s := dialBy(t, inMemory(t, compressing, func(p *peer, tag, command string) bool {
				switch {
				case strings.HasPrefix(command, "AUTHENTICATE"):
					p.send("%s OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE] in\r\n", tag)
				case command == "COMPRESS DEFLATE":
					p.send("%s OK go\r\n%s", tag, tail)
				}
				return true
			}), clearly)
			_, err := s.Open(t.Context(), "INBOX")
			if name == "silence" {
				wantKind(t, err, migrate.Unreachable)
			}
			if err == nil {
				t.Errorf("%s is taken for an answer", name)
			}
		})
	}
}
