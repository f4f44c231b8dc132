package stack

import (
	"context"
	"net/url"
	"strings"

	"mailferry/infra/local/faults"
)

// detour returns the address by which the app reaches a part: its own, or with faults that of a proxy
// in front of it, whose points are wire.NAME.connect, wire.NAME.up and wire.NAME.down.
func (s *Stack) detour(ctx context.Context, plan *faults.Plan, name, addr string) (string, error) {
	if plan == nil {
		return addr, nil
	}
	proxy, err := faults.StartProxy(ctx, faults.ProxyOptions{Name: "wire." + name, Upstream: addr, Plan: plan})
	if err != nil {
		return "", err
	}
	s.stops = append(s.stops, proxy.Close)
	return proxy.Addr(), nil
}

// detours leads the app's connections to Service Bus and Exchange Online through proxies.
func (s *Stack) detours(ctx context.Context, o Options, settings map[string]string) error {
	bus, err := s.detour(ctx, o.Faults, "bus", s.Broker.Addr())
	if err != nil {
		return err
	}
	settings["ServiceBusConnection"] = strings.Replace(s.Broker.ConnectionString(), s.Broker.Addr(), bus, 1)
	if s.Exchange == nil {
		return nil
	}
	if settings["EXCHANGE_IMAP_ADDR"], err = s.detour(ctx, o.Faults, "imap", s.Exchange.IMAPAddr()); err != nil {
		return err
	}
	direct, err := url.Parse(s.Exchange.TokenURL())
	if err != nil {
		return err
	}
	graph, err := s.detour(ctx, o.Faults, "graph", direct.Host)
	if err != nil {
		return err
	}
	settings["EXCHANGE_AUTHORITY"] = "https://" + graph
	settings["GRAPH_URL"] = strings.Replace(s.Exchange.GraphURL(), direct.Host, graph, 1)
	return nil
}
