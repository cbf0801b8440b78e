// Command coredns is CoreDNS with only the plugins that the cluster's DNS
// uses: its own list of some fifty pulls in every cloud's client library.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// The order in which plugins see a query.
	dnsserver.Directives = []string{"ready", "errors", "cache", "kubernetes", "template"}
	coremain.Run()
}
