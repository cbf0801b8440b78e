// Package image writes container images of a few static programs as
// docker-archives, without a container engine or a base image.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Image is what goes into one.
type Image struct {
	Entrypoint []string
	User       string            // number, or empty for root
	Files      map[string]string // path in the image to a program on disk
}

// Write makes a docker-archive of one layer at target, tagged NAME:TAG. The
// same programs give the same bytes.
func Write(target, tag string, image Image) error {
	layer, err := image.layer()
	if err != nil {
		return err
	}
	digest := hexDigest(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"created":      time.Unix(0, 0).UTC(),
		"config":       map[string]any{"Entrypoint": image.Entrypoint, "User": image.User},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
		"history":      []map[string]any{{"created": time.Unix(0, 0).UTC()}},
	})
	if err != nil {
		return err
	}
	configName, layerName := hexDigest(config)+".json", digest+".tar"
	manifest, err := json.Marshal([]map[string]any{
		{"Config": configName, "RepoTags": []string{tag}, "Layers": []string{layerName}},
	})
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	writer := tar.NewWriter(&archive)
	for _, entry := range []struct {
		name    string
		content []byte
	}{{layerName, layer}, {configName, config}, {"manifest.json", manifest}} {
		if err := add(writer, entry.name, 0o644, entry.content); err != nil {
			return err
		}
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return os.WriteFile(target, archive.Bytes(), 0o644)
}

func (image Image) layer() ([]byte, error) {
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	// A writable /tmp, as programs expect one.
	err := writer.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777, ModTime: time.Unix(0, 0)})
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(image.Files)) {
		content, err := os.ReadFile(image.Files[name])
		if err != nil {
			return nil, fmt.Errorf("a program of the image: %w", err)
		}
		if err := add(writer, strings.TrimPrefix(path.Clean(name), "/"), 0o755, content); err != nil {
			return nil, err
		}
	}
	err = writer.Close()
	return layer.Bytes(), err
}

func add(writer *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
	if err := writer.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(writer, bytes.NewReader(content))
	return err
}

func hexDigest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
