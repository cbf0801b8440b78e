// Package network links a cluster's own network namespace to the host by a
// veth pair, with an address range that nothing else on the host uses.
package network

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Clusters use 10.FIRST.0.0/16 and the COUNT-1 ranges after it.
const (
	first = 200
	count = 50
	// NodeLink is the node's end of the veth pair, in its own namespace.
	NodeLink = "eth0"
)

// Range is a cluster's 10.N.0.0/16, by its N.
type Range int

func (r Range) address(host string) string { return fmt.Sprintf("10.%d.%s", int(r), host) }

// All is the whole range.
func (r Range) All() string { return r.address("0.0/16") }

// Host is the host's address, as the node and pods reach it.
func (r Range) Host() string { return r.address("0.1") }

// Node is the node's address.
func (r Range) Node() string { return r.address("0.2") }

// Services is the range of ClusterIPs.
func (r Range) Services() string { return r.address("64.0/18") }

// API is the ClusterIP of the Service `kubernetes`.
func (r Range) API() string { return r.address("64.1") }

// DNS is the ClusterIP of the Service `kube-dns`.
func (r Range) DNS() string { return r.address("64.10") }

// Pods is the range of pods' addresses.
func (r Range) Pods() string { return r.address("128.0/17") }

// HostLink is the host's end of the veth pair. The kernel lets one exist,
// which makes it the claim on the range too.
func (r Range) HostLink() string { return fmt.Sprintf("mmc%d", int(r)) }

// Load reads the range that an earlier cluster in this folder had; 0 is none.
func Load(path string) (Range, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	number, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || number < first || number >= first+count {
		return 0, fmt.Errorf("%s does not hold the number of an address range", path)
	}
	return Range(number), nil
}

// Save writes what Load reads.
func (r Range) Save(path string) error {
	return os.WriteFile(path, []byte(strconv.Itoa(int(r))+"\n"), 0o644)
}

// Connect makes the veth pair into the network namespace of process pid, in
// the range wanted or, when that is 0, in any that is free; name spreads
// clusters over the ranges.
func Connect(pid int, wanted Range, name string) (Range, error) {
	if wanted != 0 {
		if err := connect(pid, wanted); err != nil {
			return 0, fmt.Errorf("the range %s of this cluster's data: %w; free it, or run: cluster down", wanted.All(), err)
		}
		return wanted, nil
	}
	sum := fnv.New32a()
	sum.Write([]byte(name))
	start := int(sum.Sum32() % count)
	var last error
	for i := range count {
		candidate := Range(first + (start+i)%count)
		if last = connect(pid, candidate); last == nil {
			return candidate, nil
		}
		if !errors.Is(last, errTaken) {
			return 0, last
		}
	}
	return 0, fmt.Errorf("no address range is free: %w", last)
}

var errTaken = errors.New("is in use on this host")

func connect(pid int, r Range) error {
	if err := unused(r); err != nil {
		return err
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = r.HostLink()
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: NodeLink, PeerNamespace: netlink.NsPid(pid)}
	if err := netlink.LinkAdd(pair); errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: link %s %w", r.All(), r.HostLink(), errTaken)
	} else if err != nil {
		return fmt.Errorf("make the veth pair %s: %w", r.HostLink(), err)
	}
	if err := configureHost(r); err != nil {
		return errors.Join(err, Disconnect(r))
	}
	return nil
}

// unused looks for routes of the host that overlap the range.
func unused(r Range) error {
	_, all, err := net.ParseCIDR(r.All())
	if err != nil {
		return err
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("read the host's routes: %w", err)
	}
	for _, route := range routes {
		if route.Dst == nil || route.Dst.IP.IsUnspecified() {
			continue // the default route
		}
		if all.Contains(route.Dst.IP) || route.Dst.Contains(all.IP) {
			return fmt.Errorf("%s: a route to %s %w", r.All(), route.Dst, errTaken)
		}
	}
	return nil
}

func configureHost(r Range) error {
	link, err := setUp(r.HostLink(), r.Host()+"/30")
	if err != nil {
		return err
	}
	_, all, err := net.ParseCIDR(r.All())
	if err != nil {
		return err
	}
	// Pods and services too can be reached from the host.
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: all, Gw: net.ParseIP(r.Node())}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add a route to %s: %w", r.All(), err)
	}
	return nil
}

// ConfigureNode runs in the cluster's own namespace. There is no default
// route: what is not of the cluster or the host fails at once.
func ConfigureNode(r Range) error {
	if _, err := setUp("lo", ""); err != nil {
		return err
	}
	link, err := setUp(NodeLink, r.Node()+"/30")
	if err != nil {
		return err
	}
	// The kernel looks for a route before kube-proxy's rules send a packet
	// elsewhere: without one, nothing on the node reaches a ClusterIP.
	_, services, err := net.ParseCIDR(r.Services())
	if err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: services,
		Scope: netlink.SCOPE_LINK, Src: net.ParseIP(r.Node())}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("add a route to %s: %w", r.Services(), err)
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

func setUp(name, address string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find the link %s: %w", name, err)
	}
	if address != "" {
		parsed, err := netlink.ParseAddr(address)
		if err != nil {
			return nil, err
		}
		if err := netlink.AddrAdd(link, parsed); err != nil {
			return nil, fmt.Errorf("give %s the address %s: %w", name, address, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("set %s up: %w", name, err)
	}
	return link, nil
}

// Disconnect removes the veth pair where it is still there: the kernel does
// so by itself, a moment after the namespace's last process has ended.
func Disconnect(r Range) error {
	if r == 0 {
		return nil
	}
	link, err := netlink.LinkByName(r.HostLink())
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove the link %s: %w", r.HostLink(), err)
	}
	return nil
}
