/* HTTP and a WebSocket echo on one port, over poll(2). Usage: server PORT */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto.h"

#define CONNECTIONS 1000
#define BYTES(text) {(const uint8_t *)(text), sizeof(text) - 1}

typedef struct {
    proto_http_server http;
    proto_ws *ws; /* after the upgrade */
    bool closing; /* closes as soon as the output was sent */
    size_t length;
    proto_buffer out;
    uint8_t in[16384], memory[4096];
} connection;

static struct pollfd polled[1 + CONNECTIONS];
static connection *connections[1 + CONNECTIONS];
static size_t count = 1;
static proto_http_rules rules;

static void hello(connection *c) {
    static const proto_field type = {BYTES("Content-Type"), BYTES("text/plain")};
    static const proto_bytes body = BYTES("Hello, World!");
    proto_http_server_respond(&c->http, 200, &type, 1, body.data, body.length, NULL, &c->out);
}

/* Takes one event off the input. False if there is none, or if the answers must be sent first. */
static bool http_step(connection *c, uint8_t *data, size_t length, size_t *used) {
    proto_http_event event;
    *used = 0;
    if (c->out.capacity - c->out.length < 1024) return false;
    int32_t got = proto_http_server_next(&c->http, &rules, data, length, used, &event);
    if (got < 0) { /* the client's fault: say so, and close */
        fprintf(stderr, "%s (%s)\n", proto_error_name(got), proto_error_section(got));
        if (proto_http_server_can_respond(&c->http))
            proto_http_server_respond(&c->http, proto_error_status(got), NULL, 0, NULL, 0, NULL, &c->out);
        c->closing = true;
        return false;
    }
    if (got == PROTO_MORE || event.kind == PROTO_HTTP_PAUSED) return false;
    if (event.kind == PROTO_HTTP_HEAD && event.head.wants_upgrade) {
        if (proto_ws_upgrade(&c->http, &event.head, NULL, NULL, &c->out) == PROTO_OK)
            c->ws = proto_ws_new(PROTO_WS_SERVER, NULL);
    } else if (event.kind == PROTO_HTTP_HEAD && event.head.body == PROTO_HTTP_BODY_EMPTY) {
        hello(c);
    } else if (event.kind == PROTO_HTTP_HEAD && event.head.expects_continue) {
        proto_http_server_inform(&c->http, 100, NULL, 0, &c->out);
    } else if (event.kind == PROTO_HTTP_END) {
        hello(c);
    }
    if (event.kind == PROTO_HTTP_CLOSED || proto_http_server_must_close(&c->http)) c->closing = true;
    return !c->closing;
}

static bool ws_step(connection *c, uint8_t *data, size_t length, size_t *used) {
    proto_ws_event event;
    int32_t got = proto_ws_next(c->ws, data, length, used, &event);
    if (got == PROTO_EVENT && event.kind == PROTO_WS_MESSAGE)
        proto_ws_message(c->ws, event.text, event.data.data, event.data.length);
    if (got < 0 || (got == PROTO_EVENT && event.kind == PROTO_WS_CLOSE)) c->closing = true;
    return got == PROTO_EVENT && !c->closing;
}

static void process(connection *c) {
    size_t at = 0, used = 0;
    bool more = !c->closing;
    while (more) {
        more = c->ws ? ws_step(c, c->in + at, c->length - at, &used) : http_step(c, c->in + at, c->length - at, &used);
        at += used;
    }
    memmove(c->in, c->in + at, c->length -= at);
}

/* Sends what waits. False if the connection has ended. */
static bool flush(int fd, connection *c) {
    ssize_t sent = 0;
    if (c->out.length && (sent = send(fd, c->out.data, c->out.length, MSG_NOSIGNAL)) > 0)
        memmove(c->out.data, c->out.data + sent, c->out.length -= (size_t)sent);
    proto_bytes rest = proto_ws_output(c->ws);
    if (sent >= 0 && !c->out.length && rest.length && (sent = send(fd, rest.data, rest.length, MSG_NOSIGNAL)) > 0)
        proto_ws_sent(c->ws, (size_t)sent);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    return !c->closing || c->out.length || proto_ws_output(c->ws).length;
}

static bool serve(int fd, short ready, connection *c) {
    bool waits = c->out.length || proto_ws_output(c->ws).length;
    if (!waits && ready & (POLLIN | POLLHUP | POLLERR)) { /* a client that does not read is not read from */
        ssize_t got = recv(fd, c->in + c->length, sizeof c->in - c->length, 0);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0 && c->ws) return false;
        if (got == 0) proto_http_server_eof(&c->http);
        c->length += (size_t)got;
    }
    process(c);
    return flush(fd, c);
}

static void begin(int fd) {
    connection *c = count <= CONNECTIONS ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        close(fd);
        return;
    }
    proto_http_server_init(&c->http);
    c->out = (proto_buffer){c->memory, sizeof c->memory, 0};
    polled[count].fd = fd;
    connections[count++] = c;
}

static void end(size_t at) {
    shutdown(polled[at].fd, SHUT_WR);
    close(polled[at].fd);
    proto_ws_free(connections[at]->ws);
    free(connections[at]);
    polled[at] = polled[--count];
    connections[at] = connections[count];
}

static volatile sig_atomic_t stopped;
static void stop(int signal) { stopped = signal; }

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 8080)};
    socklen_t size = sizeof address;
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return perror("listen"), 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port)), fflush(stdout);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);
    proto_http_rules_requests(&rules); /* a whole head must fit into `in` */
    rules.request_line = 4096, rules.fields_bytes = 8192;
    polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    while (!stopped) {
        for (size_t at = 1; at < count; at++) {
            bool waits = connections[at]->out.length || proto_ws_output(connections[at]->ws).length;
            polled[at].events = waits ? POLLOUT : POLLIN;
        }
        if (poll(polled, count, -1) < 0) continue;
        for (size_t at = count - 1; at > 0; at--)
            if (polled[at].revents && !serve(polled[at].fd, polled[at].revents, connections[at])) end(at);
        for (int fd; polled[0].revents && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) begin(fd);
    }
    while (count > 1) end(1);
    return close(listener);
}
