package node

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"text/template"

	"maas-mirror/tests/cluster/internal/layout"
)

//go:embed files
var files embed.FS

// writeConfigs fills in every template of the folder files.
func (p plan) writeConfigs() error {
	templates, err := template.New("").Option("missingkey=error").ParseFS(files, "files/*")
	if err != nil {
		return err
	}
	values := map[string]any{
		"State":            p.dir.State(),
		"Pki":              p.dir.State("pki"),
		"Config":           p.dir.State("config"),
		"Cgroup":           p.dir.Cgroup(),
		"Domain":           layout.DNSDomain,
		"PauseImage":       layout.PauseImage,
		"StorageClass":     layout.StorageClass,
		"Provisioner":      layout.Provisioner,
		"NodeName":         layout.NodeName,
		"Node":             p.ranges.Node(),
		"DNS":              p.ranges.DNS(),
		"Pods":             p.ranges.Pods(),
		"ContainerdSocket": containerdSocket,
		"Registry":         fmt.Sprintf("%s:%d", p.ranges.Node(), RegistryPort),
		"DNSPort":          DNSPort,
		"DNSReadyPort":     DNSReadyPort,
	}
	entries, err := files.ReadDir("files")
	if err != nil {
		return err
	}
	for _, entry := range entries {
		var text bytes.Buffer
		if err := templates.ExecuteTemplate(&text, entry.Name(), values); err != nil {
			return err
		}
		if err := os.WriteFile(p.config(entry.Name()), text.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
