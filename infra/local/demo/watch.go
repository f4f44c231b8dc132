package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"mailferry/shared/migrate"
)

// quiet is how long nothing may move before the demo gives up. After a crash nothing moves until locks of a
// minute have run out, and a busy machine takes long.
const quiet = 5 * time.Minute

func (d *demo) request(ctx context.Context, method, url string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("x-functions-key", d.stack.Host.MasterKey())
	return d.client.Do(r)
}

// status reads the batch as an administrator's script would. A batch that is not there yet is nil.
func (d *demo) status(ctx context.Context) (*migrate.BatchStatus, error) {
	response, err := d.request(ctx, http.MethodGet, d.stack.Host.URL()+"/api/batches/"+endpoint+"/"+batch)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil // not taken in yet, or the handler is just being killed
	}
	b := new(migrate.BatchStatus)
	return b, json.NewDecoder(response.Body).Decode(b)
}

// await prints progress until the condition holds. It gives up when nothing moves any more, and at
// once when a mailbox failed.
func (d *demo) await(ctx context.Context, what string, done func(*migrate.BatchStatus) bool) error {
	last, moved := "", time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := d.status(ctx)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err == nil && b != nil {
			if line := progress(b); line != last {
				fmt.Fprintf(d.Out, "  %5.1f s  %s\n", time.Since(d.began).Seconds(), line)
				last, moved = line, time.Now()
			}
			if err := failure(b); err != nil {
				return err
			}
			if len(b.Details) == len(d.accounts) && done(b) {
				return nil
			}
		}
		if time.Since(moved) > quiet {
			return errors.Join(fmt.Errorf("nothing moved for %s while waiting for %s", quiet, what), problems(b))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func progress(b *migrate.BatchStatus) string {
	line := fmt.Sprintf("%-12s %6d of %6d messages, %7.1f MB", b.State, b.Messages, b.Total, float64(b.Counts.Octets)/1e6)
	for _, m := range b.Details {
		line += fmt.Sprintf("   %s %s", m.Address[:6], m.State)
	}
	return line
}

func failure(b *migrate.BatchStatus) error {
	var errs []error
	for _, m := range b.Details {
		if m.State == migrate.Failed {
			errs = append(errs, fmt.Errorf("mailbox %s failed: %s (%s)", m.Address, m.Problem.Text, m.Problem.Advice))
		}
	}
	return errors.Join(errs...)
}

// problems is what stands in the way of mailboxes that have not failed.
func problems(b *migrate.BatchStatus) error {
	if b == nil {
		return nil
	}
	var errs []error
	for _, m := range b.Details {
		if m.Problem != nil {
			errs = append(errs, fmt.Errorf("mailbox %s: %s", m.Address, m.Problem.Text))
		}
	}
	return errors.Join(errs...)
}

// watch follows the first sync, and kills handlers or empties the queue on the way if asked to.
func (d *demo) watch(ctx context.Context) error {
	kills, wiped := 0, !d.WipeQueue
	total := 0
	for _, a := range d.accounts {
		total += len(a.before)
	}
	return d.await(ctx, "the first sync", func(b *migrate.BatchStatus) bool {
		if kills < d.Kills && b.Messages >= total*(kills+1)/(d.Kills+2) {
			instance := kills % max(1, d.Instances)
			if err := d.stack.Host.Kill(instance); err != nil {
				fmt.Fprintf(d.Out, "  kill: %v\n", err)
				return false
			}
			kills++
			fmt.Fprintf(d.Out, "  — SIGKILL to handler %d, %d of %d messages over\n", instance, b.Messages, total)
		}
		if !wiped && b.Messages >= total/3 {
			wiped = true
			d.stack.Broker.Wipe()
			fmt.Fprintln(d.Out, "  — Service Bus broker restarted empty")
		}
		for _, m := range b.Details {
			if m.Passes == 0 {
				return false
			}
		}
		return kills == d.Kills && wiped
	})
}
