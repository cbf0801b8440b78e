// Command probe is the program of the test's own pods: a small server, and the
// questions that the test asks from within a pod.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const bound = 10 * time.Second

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: probe serve ADDRESS | lookup NAME | get URL | append FILE")
	}
	answer, err := run(os.Args[1], os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}

func run(verb, argument string) (string, error) {
	switch verb {
	case "serve":
		return "", serve(argument)
	case "lookup":
		return lookup(argument)
	case "get":
		return get(argument)
	case "append":
		return appendTo(argument)
	default:
		return "", fmt.Errorf("no such command: %s", verb)
	}
}

// serve answers with the host's name, which is the pod's.
func serve(address string) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	log.Printf("probe %s listens on %s", name, address)
	return http.ListenAndServe(address, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, name)
	}))
}

func lookup(name string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	slices.Sort(addresses)
	return strings.Join(addresses, " "), err
}

func get(url string) (string, error) {
	client := http.Client{Timeout: bound}
	response, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", url, response.Status, body)
	}
	return strings.TrimSpace(string(body)), nil
}

// appendTo adds a line to the file and tells how many it has.
func appendTo(path string) (string, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if _, err := fmt.Fprintln(file, time.Now().Format(time.RFC3339Nano)); err != nil {
		return "", err
	}
	content, err := os.ReadFile(path)
	return fmt.Sprint(strings.Count(string(content), "\n")), err
}
