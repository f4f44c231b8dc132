package servicebus

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/needs"
)

// player is rhea/scenarios.js in a node process, which speaks of itself there.
type player struct {
	in    io.Writer
	lines *bufio.Scanner
}

// startPlayer installs rhea when that has not been done yet, and starts node.
func startPlayer(t *testing.T) *player {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute) // node ends after the test, and may have to be fetched
	t.Cleanup(cancel)
	if err := needs.NPM(ctx, "rhea"); err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(ctx, "node", "scenarios.js")
	node.Dir = "rhea"
	in, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	node.Stderr = &complaints
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close() // ends it
		if err := node.Wait(); err != nil || complaints.Len() > 0 {
			t.Errorf("node: %v: %s", err, complaints.String())
		}
	})
	return &player{in, bufio.NewScanner(out)}
}

func (p *player) tell(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.in.Write(append(line, '\n'))
	return err
}

// play plays a scenario and returns what rhea saw.
func (p *player) play(name string, b *Broker, clock *handClock) (seen []string, err error) {
	host, port, err := net.SplitHostPort(b.Addr())
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	key := map[string]string{"name": b.keys[0].Name, "secret": b.keys[0].Secret}
	if err := p.tell(map[string]any{"scenario": name, "host": host, "port": number, "key": key}); err != nil {
		return nil, err
	}
	for p.lines.Scan() {
		line := p.lines.Text()
		seconds, isPass := strings.CutPrefix(line, "> pass ")
		switch {
		case line == ".":
			return seen, nil
		case line == "> counts":
			seen = append(seen, countsLine(b))
		case isPass:
			n, err := strconv.Atoi(seconds)
			if err != nil {
				return nil, err
			}
			clock.pass(time.Duration(n) * time.Second)
		default:
			seen = append(seen, line)
			continue
		}
		if err := p.tell("done"); err != nil {
			return nil, err
		}
	}
	return seen, fmt.Errorf("node ended: %w", io.ErrUnexpectedEOF)
}

// The rhea client sees in every scenario what azservicebus sees.
func TestScenariosWithRhea(t *testing.T) {
	p := startPlayer(t)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			broker, clock := scenarioBroker(t, s)
			seen, err := p.play(s.name, broker, clock)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(seen, s.want) {
				t.Errorf("saw\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(s.want, "\n"))
			}
		})
	}
}
