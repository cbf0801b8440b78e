/* The kernel's own limit: accept, a thread a connection, blocking sendfile.
 * Knows GET of a path below the folder in argv[1] and nothing else of HTTP.
 * Prints its port. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *root;

static int answer(int client)
{
    char request[4096], path[2048], file[4096], head[256];
    size_t have = 0;
    while (have < sizeof request - 1) {
        ssize_t got = read(client, request + have, sizeof request - 1 - have);
        if (got <= 0)
            return 0;
        have += (size_t)got;
        request[have] = 0;
        if (strstr(request, "\r\n\r\n"))
            break;
    }
    if (sscanf(request, "GET /images/%2000s ", path) != 1)
        return 0;
    snprintf(file, sizeof file, "%s/%s", root, path);
    int fd = open(file, O_RDONLY);
    struct stat meta;
    if (fd < 0 || fstat(fd, &meta) < 0)
        return 0;
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\n\r\n", (long long)meta.st_size);
    send(client, head, (size_t)length, MSG_MORE);
    off_t at = 0;
    while (at < meta.st_size)
        if (sendfile(client, fd, &at, (size_t)(meta.st_size - at)) <= 0)
            break;
    close(fd);
    return at == meta.st_size && !strstr(request, "Connection: close");
}

static void *serve(void *argument)
{
    int client = (int)(long)argument, one = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    while (answer(client))
        ;
    close(client);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (argc != 2 || bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096))
        return 1;
    root = argv[1];
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        pthread_t thread;
        if (client >= 0 && !pthread_create(&thread, NULL, serve, (void *)(long)client))
            pthread_detach(thread);
    }
}
