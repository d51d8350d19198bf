/* HTTP and a WebSocket echo by the server in the library. Usage: pull PORT */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"

#define BYTES(text) {(const uint8_t *)(text), sizeof(text) - 1}

static volatile sig_atomic_t stopped;
static void stop(int signal) { stopped = signal; }

int main(int argc, char **argv) {
    char address[32];
    int length = snprintf(address, sizeof address, "127.0.0.1:%d", argc > 1 ? atoi(argv[1]) : 8080);
    proto_server *server = proto_server_new(NULL);
    int32_t port = proto_server_listen(server, (uint8_t *)address, (size_t)length);
    if (port < 0) return fprintf(stderr, "%s: %s\n", proto_error_name(port), strerror(proto_server_errno(server))), 1;
    printf("listening on 127.0.0.1:%d\n", port), fflush(stdout);
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = stop}, NULL);

    static const proto_field type = {BYTES("Content-Type"), BYTES("text/plain")};
    static const proto_bytes hello = BYTES("Hello, World!");
    proto_server_event event;
    while (!proto_server_is_idle(server)) {
        if (stopped) proto_server_stop(server, 1000);
        if (proto_server_poll(server, 1000) < 0) break;
        while (proto_server_next(server, &event) == PROTO_EVENT) {
            if (event.kind == PROTO_SERVER_REQUEST && event.head.wants_upgrade)
                proto_server_upgrade(server, event.id, NULL);
            else if (event.kind == PROTO_SERVER_REQUEST)
                proto_server_respond(server, event.id, 200, &type, 1, hello.data, hello.length);
            else if (event.kind == PROTO_SERVER_MESSAGE)
                proto_server_send(server, event.id, event.text, event.data.data, event.data.length);
        }
    }
    proto_server_free(server);
    return 0;
}
