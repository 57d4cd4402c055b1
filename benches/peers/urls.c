// A load generator for many URLs: asks for PREFIX followed by a number of seven digits, in order or at random, over
// kept connections, and looks at every answer. An exact number of requests, or as many as a time allows.
//
// Usage: urls PORT PREFIX FROM COUNT seq|random CONNECTIONS DEPTH REQUESTS MILLISECONDS
//
// COUNT 0 asks for PREFIX itself. DEPTH requests at most are on their way on one connection. REQUESTS or MILLISECONDS
// may be 0, not both. All connections are open before the first request leaves. Prints one JSON object.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, READ_BYTES = 1 << 18, HEAD_BYTES_MAX = 1 << 14, DEPTH_MAX = 64, REQUEST_BYTES_MAX = 512 };
// A server that says nothing for so long has lost a request.
enum { SILENCE_MS_MAX = 20000 };

struct connection {
    int fd;
    unsigned first, waiting;  // the ring of times at which requests left, oldest first
    uint64_t sent_ns[DEPTH_MAX];
    uint64_t body_left;
    size_t head_bytes;  // of a head that has not arrived in full
    char head[HEAD_BYTES_MAX];
};

static struct {
    const char *prefix;
    uint64_t from, count, requests;
    int random;
    unsigned port, depth;
} work;

static struct {
    uint64_t sent, answered, not_200, hits, lost, body_bytes;
    uint32_t *latency_us;
    size_t latency_room;
} done;

static uint64_t end_ns, chance = 0x9e3779b97f4a7c15;
static int epoll;
static char input[READ_BYTES];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t next_number(void) {
    if (!work.random) return work.from + done.sent % work.count;
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return work.from + chance % work.count;
}

static void open_connection(struct connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(work.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) fail("socket");
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
    c->first = c->waiting = 0;
    c->body_left = c->head_bytes = 0;
}

// Sends what the connection may have on its way; a few requests always fit into the socket.
static void ask(struct connection *c, uint64_t now) {
    char out[DEPTH_MAX * REQUEST_BYTES_MAX];
    size_t bytes = 0;
    while (c->waiting < work.depth && (!work.requests || done.sent < work.requests) && now < end_ns) {
        bytes += work.count ? (size_t)sprintf(out + bytes, "GET %s%07llu HTTP/1.1\r\nHost: shop.example\r\n\r\n",
                                              work.prefix, (unsigned long long)next_number())
                            : (size_t)sprintf(out + bytes, "GET %s HTTP/1.1\r\nHost: shop.example\r\n\r\n", work.prefix);
        c->sent_ns[(c->first + c->waiting++) % DEPTH_MAX] = now;
        done.sent++;
    }
    for (size_t written = 0; written < bytes;) {
        ssize_t n = send(c->fd, out + written, bytes - written, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) return;  // the read that follows finds it closed
        if (n > 0) written += (size_t)n;
    }
}

static void note_latency(uint64_t ns) {
    if (done.answered == done.latency_room) {
        done.latency_room = done.latency_room ? 2 * done.latency_room : 1 << 16;
        done.latency_us = realloc(done.latency_us, done.latency_room * sizeof *done.latency_us);
        if (!done.latency_us) fail("realloc");
    }
    done.latency_us[done.answered] = (uint32_t)(ns / 1000);
}

// The last byte of the oldest answer is here.
static void finish(struct connection *c, uint64_t now) {
    note_latency(now - c->sent_ns[c->first]);
    c->first = (c->first + 1) % DEPTH_MAX;
    c->waiting--;
    done.answered++;
}

static int is_field(const char *line, const char *name) { return !strncasecmp(line, name, strlen(name)); }

// Reads one complete head, which ends in an empty line.
static void read_head(struct connection *c, char *head, size_t bytes, uint64_t now) {
    char *end = head + bytes;
    int length_known = 0;
    if (!c->waiting || bytes < 14 || memcmp(head, "HTTP/1.1 ", 9)) {
        fprintf(stderr, "no answer to a request: %.60s\n", head);
        exit(1);
    }
    if (memcmp(head + 9, "200", 3)) done.not_200++;
    for (char *line = memchr(head, '\n', bytes); line && ++line < end - 2; line = memchr(line, '\n', end - line)) {
        if (is_field(line, "content-length:")) {
            c->body_left = strtoull(line + 15, NULL, 10);
            length_known = 1;
        } else if (is_field(line, "cache-status:")) {
            char *line_end = memchr(line, '\r', end - line);
            done.hits += line_end && memmem(line, line_end - line, "; hit", 5);
        }
    }
    if (!length_known) {
        fprintf(stderr, "an answer without Content-Length:\n%.*s\n", (int)bytes, head);
        exit(1);
    }
    done.body_bytes += c->body_left;
    if (!c->body_left) finish(c, now);
}

static void take(struct connection *c, char *bytes, size_t n, uint64_t now) {
    while (n) {
        if (c->body_left) {
            size_t part = c->body_left < n ? c->body_left : n;
            c->body_left -= part;
            bytes += part;
            n -= part;
            if (!c->body_left) finish(c, now);
            continue;
        }
        char *end = c->head_bytes ? NULL : memmem(bytes, n, "\r\n\r\n", 4);
        if (end) {
            size_t head = (size_t)(end - bytes) + 4;
            read_head(c, bytes, head, now);
            bytes += head;
            n -= head;
            continue;
        }
        // The head arrives in parts: byte by byte, for it is rare.
        if (c->head_bytes == HEAD_BYTES_MAX - 1) {
            fprintf(stderr, "a head of more than %d bytes\n", HEAD_BYTES_MAX);
            exit(1);
        }
        c->head[c->head_bytes++] = *bytes++;
        n--;
        if (c->head_bytes >= 4 && !memcmp(c->head + c->head_bytes - 4, "\r\n\r\n", 4)) {
            size_t head = c->head_bytes;
            c->head[head] = 0;
            c->head_bytes = 0;
            read_head(c, c->head, head, now);
        }
    }
}

static void on_input(struct connection *c) {
    ssize_t n = recv(c->fd, input, READ_BYTES, 0);
    uint64_t now = now_ns();
    if (n > 0) {
        take(c, input, (size_t)n, now);
    } else if (n == 0 || errno != EINTR) {
        // A server may close a connection between two requests; what waited on it is lost.
        done.lost += c->waiting;
        close(c->fd);
        open_connection(c);
    }
    ask(c, now);
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double quantile_us(double part) {
    return done.answered ? done.latency_us[(size_t)(part * (double)(done.answered - 1))] : 0;
}

int main(int argc, char **argv) {
    if (argc != 10) {
        fprintf(stderr, "usage: urls PORT PREFIX FROM COUNT seq|random CONNECTIONS DEPTH REQUESTS MILLISECONDS\n");
        return 2;
    }
    work.port = (unsigned)atoi(argv[1]);
    work.prefix = argv[2];
    work.from = strtoull(argv[3], NULL, 10);
    work.count = strtoull(argv[4], NULL, 10);
    work.random = !strcmp(argv[5], "random");
    int connections = atoi(argv[6]);
    work.depth = (unsigned)atoi(argv[7]);
    work.requests = strtoull(argv[8], NULL, 10);
    uint64_t milliseconds = strtoull(argv[9], NULL, 10);
    if (connections < 1 || work.depth < 1 || work.depth > DEPTH_MAX || strlen(work.prefix) > REQUEST_BYTES_MAX / 2 ||
        (!work.requests && !milliseconds)) {
        fprintf(stderr, "urls: an argument is out of range\n");
        return 2;
    }

    epoll = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (epoll < 0 || !all) fail("urls");
    for (int i = 0; i < connections; i++) open_connection(all + i);
    // Not the same numbers in each round, or the second would find what the first left in the processor's caches.
    uint64_t start = now_ns();
    chance ^= start * 0x2545f4914f6cdd1d;
    end_ns = milliseconds ? start + milliseconds * 1000000 : UINT64_MAX;
    for (int i = 0; i < connections; i++) ask(all + i, start);

    struct epoll_event events[EVENTS];
    while (done.answered + done.lost < done.sent) {
        int n = epoll_wait(epoll, events, EVENTS, SILENCE_MS_MAX);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        if (n == 0) {
            done.lost = done.sent - done.answered;
            break;
        }
        for (int i = 0; i < n; i++) on_input(events[i].data.ptr);
    }
    double seconds = (double)(now_ns() - start) / 1e9;
    qsort(done.latency_us, done.answered, sizeof *done.latency_us, compare);
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"not_200\": %llu, \"lost\": %llu, \"hits\": %llu, "
           "\"body_bytes\": %llu, \"p50\": %.0f, \"p99\": %.0f, \"max\": %.0f}\n",
           (unsigned long long)done.answered, seconds, (unsigned long long)done.not_200, (unsigned long long)done.lost,
           (unsigned long long)done.hits, (unsigned long long)done.body_bytes, quantile_us(0.5), quantile_us(0.99),
           quantile_us(1));
    return 0;
}
