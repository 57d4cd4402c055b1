// The limit: an epoll loop that reads a request head up to its blank line, ignores what it says, and answers with one
// prebuilt response by writev. What an edge needs beyond this is what its work on a request costs.
//
// Usage: bare PORT BODY_FILE
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { EVENTS = 256, READ_BYTES = 16384, BODY_BYTES_MAX = 1 << 20 };

struct connection {
    int fd;
    int matched;      // how many bytes of "\r\n\r\n" the input ends with
    unsigned owed;    // responses not yet written in full
    size_t written;   // bytes written of the response under way
    int wants_write;  // EPOLLOUT is set
};

static char head[256];
static char *body;
static size_t head_bytes, body_bytes;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void end(struct connection *c) {
    close(c->fd);
    free(c);
}

static void count_requests(struct connection *c, const char *input, ssize_t n) {
    for (ssize_t i = 0; i < n; i++) {
        if (input[i] == "\r\n\r\n"[c->matched])
            c->matched++;
        else
            c->matched = input[i] == '\r';
        if (c->matched == 4) {
            c->owed++;
            c->matched = 0;
        }
    }
}

// Writes what is owed until the socket is full; returns -1 when the peer is gone.
static int write_owed(struct connection *c) {
    while (c->owed) {
        struct iovec parts[2];
        int count = 0;
        if (c->written < head_bytes)
            parts[count++] = (struct iovec){head + c->written, head_bytes - c->written};
        size_t of_body = c->written > head_bytes ? c->written - head_bytes : 0;
        parts[count++] = (struct iovec){body + of_body, body_bytes - of_body};
        ssize_t n = writev(c->fd, parts, count);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        c->written += (size_t)n;
        if (c->written == head_bytes + body_bytes) {
            c->written = 0;
            c->owed--;
        }
    }
    return 0;
}

static void serve(int poll, struct connection *c, unsigned events) {
    if (events & EPOLLIN) {
        char input[READ_BYTES];
        ssize_t n = read(c->fd, input, sizeof input);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            end(c);
            return;
        }
        if (n > 0)
            count_requests(c, input, n);
    }
    if (write_owed(c) < 0) {
        end(c);
        return;
    }
    int wants_write = c->owed > 0;
    if (wants_write != c->wants_write) {
        struct epoll_event e = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = c};
        epoll_ctl(poll, EPOLL_CTL_MOD, c->fd, &e);
        c->wants_write = wants_write;
    }
}

static void accept_all(int poll, int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct connection *c = calloc(1, sizeof *c);
        if (!c)
            fail("calloc");
        c->fd = fd;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e))
            fail("epoll_ctl");
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: bare PORT BODY_FILE\n");
        return 2;
    }
    FILE *file = fopen(argv[2], "rb");
    body = malloc(BODY_BYTES_MAX);
    if (!file || !body)
        fail(argv[2]);
    body_bytes = fread(body, 1, BODY_BYTES_MAX, file);
    fclose(file);
    head_bytes = (size_t)snprintf(head, sizeof head,
                                  "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %zu\r\n"
                                  "Cache-Control: public, max-age=3600\r\nETag: \"bare\"\r\nAge: 1\r\n\r\n",
                                  body_bytes);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096))
        fail("listen");

    int poll = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e))
        fail("epoll");
    struct epoll_event ready[EVENTS];
    for (;;) {
        int n = epoll_wait(poll, ready, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr)
                serve(poll, ready[i].data.ptr, ready[i].events);
            else
                accept_all(poll, listener);
        }
    }
}
