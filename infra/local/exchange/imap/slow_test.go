package imap

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestSlowSignIn shows that a client has a minute to sign in, however it spends
// it (Set-ImapSettings -PreAuthenticatedConnectionTimeout), and that one who has
// signed in may be silent for half an hour (-AuthenticatedConnectionTimeout).
func TestSlowSignIn(t *testing.T) {
	s := pipeServer(t)
	for _, tt := range []struct {
		name, begin string
		pause, last time.Duration // between octets, and until the end
	}{
		{"drop by drop", "", 10 * time.Second, time.Minute},
		{"silent", "", time.Hour, time.Minute},
		{"signed in, drop by drop", signIn, 29 * time.Minute, 29*time.Minute*9 + 30*time.Minute},
		{"signed in, silent", signIn, time.Hour, 30 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, server := net.Pipe()
				ses, err := newSession(s, server)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				go io.Copy(io.Discard, client) // ends with the session
				said := make(chan struct{})
				go func() {
					defer close(said)
					if _, err := io.WriteString(client, tt.begin); err != nil {
						return
					}
					for range 9 {
						time.Sleep(tt.pause)
						if _, err := io.WriteString(client, "x"); err != nil {
							return
						}
					}
				}()
				ses.serve()
				if got := time.Since(began); got != tt.last {
					t.Errorf("the session lasted %s, want %s", got, tt.last)
				}
				server.Close()
				client.Close()
				<-said
			})
		})
	}
}
