/* Shows the WebSocket frames in a file or on standard input, such as the bytes of one direction of a captured connection, without
 * allocating. Usage: frames server|client < FILE: whose input it is. */
#include <stdio.h>
#include <string.h>

#include "proto.h"

int main(int argc, char **argv) {
    uint8_t bytes[4096];
    size_t length = 0, used, got;
    proto_ws_decoder decoder;
    proto_ws_event event;
    int32_t result = PROTO_MORE;
    proto_ws_decoder_init(&decoder, argc > 1 && !strcmp(argv[1], "client") ? PROTO_WS_CLIENT : PROTO_WS_SERVER, NULL);
    while (result >= 0 && (got = fread(bytes + length, 1, sizeof bytes - length, stdin)) > 0) {
        size_t at = 0;
        length += got;
        while ((result = proto_ws_decoder_next(&decoder, bytes + at, length - at, &used, &event)) == PROTO_EVENT) {
            static const char *const kinds[] = {"message", "part", "ping", "pong", "close"};
            printf("%s%s %s %zu bytes", kinds[event.kind], event.last ? "" : "...", event.text ? "text" : "binary", event.data.length);
            if (event.kind == PROTO_WS_CLOSE) printf(" code %u", event.code);
            if (event.text) printf(": %.*s", (int)event.data.length, (const char *)event.data.data);
            putchar('\n');
            at += used;
        }
        at += used;
        memmove(bytes, bytes + at, length -= at);
    }
    if (result < 0) return fprintf(stderr, "%s (%s)\n", proto_error_name(result), proto_error_section(result)), 1;
    return 0;
}
