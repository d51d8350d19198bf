/* Calls every part of the library, with right and with wrong arguments. Run under valgrind and the address sanitizer by `ci/check c`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto.h"

static unsigned checks;
#define CHECK(condition)                                                            \
    do {                                                                            \
        checks++;                                                                   \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), exit(1); \
        }                                                                           \
    } while (0)

#define U(text) ((const uint8_t *)(text))
#define TEXT(text) U(text), sizeof(text) - 1
#define BYTES(text) {(const uint8_t *)(text), sizeof(text) - 1}

static bool is(proto_bytes bytes, const char *text) {
    return bytes.length == strlen(text) && (!bytes.length || !memcmp(bytes.data, text, bytes.length));
}

static bool wrote(const proto_buffer *out, const char *text) { return is((proto_bytes){out->data, out->length}, text); }

/* Exactly as large as it says, so that valgrind and the sanitizer see a byte too many. */
static uint8_t *copy(const void *bytes, size_t length) {
    uint8_t *there = malloc(length ? length : 1);
    if (length) memcpy(there, bytes, length);
    return there;
}

static void errors(void) {
    CHECK(proto_version() == PROTO_VERSION && !strcmp(proto_version_text(), "0.1.0"));
    CHECK(!strcmp(proto_error_name(PROTO_HTTP_BARE_LF), "PROTO_HTTP_BARE_LF"));
    CHECK(!strcmp(proto_error_section(PROTO_HTTP_BARE_LF), "RFC 9112 section 2.2"));
    CHECK(!strcmp(proto_error_name(-7777), "PROTO_OTHER") && !*proto_error_section(-7777));
    CHECK(proto_error_fault(PROTO_HTTP_BARE_LF) == PROTO_FAULT_PEER);
    CHECK(proto_error_fault(PROTO_HTTP_MISUSE_HOST) == PROTO_FAULT_PROGRAM && proto_error_fault(PROTO_OK) == PROTO_FAULT_NONE);
    CHECK(proto_error_status(PROTO_HTTP_FIELDS_TOO_LARGE) == 431 && proto_error_close_code(PROTO_WS_UTF8) == 1007);
}

static void heads(void) {
    static const char text[] = "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close, Upgrade\r\nx-y: z\r\n\r\nhello";
    proto_http_head head;
    proto_http_rules rules;
    proto_field list[8];
    proto_bytes value, query;
    size_t used, length = sizeof text - 1 - 5;
    for (size_t cut = 0; cut < length; cut++) { /* a copy of the cut has no byte behind it */
        uint8_t *bytes = copy(text, cut);
        CHECK(proto_http_request_parse(bytes, cut, NULL, &head, &used) == PROTO_MORE);
        free(bytes);
    }
    CHECK(proto_http_request_parse(TEXT(text), NULL, &head, &used) == PROTO_EVENT && used == length);
    CHECK(is(head.method, "POST") && is(head.target, "/a/b?c=d") && head.version == 11 && !head.keep_alive);
    CHECK(head.body == PROTO_HTTP_BODY_LENGTH && head.content_length == 5 && head.status == 0);
    CHECK(proto_http_path(&head, &value, &query) == PROTO_OK && is(value, "/a/b") && is(query, "c=d"));
    CHECK(proto_http_field_find(&head.fields, TEXT("X-Y"), &value) && is(value, "z"));
    CHECK(!proto_http_field_find(&head.fields, TEXT("absent"), &value) && value.length == 0);
    CHECK(proto_http_field_has_token(&head.fields, TEXT("connection"), TEXT("upgrade")));
    CHECK(proto_http_field_list(&head.fields, NULL, 0) == 4 && proto_http_field_list(&head.fields, list, 2) == 4);
    CHECK(is(list[1].name, "Content-Length") && is(list[1].value, "5"));

    CHECK(proto_http_request_parse(TEXT("GET / HTTP/1.1\nHost: x\r\n\r\n"), NULL, &head, &used) == PROTO_HTTP_BARE_LF && used == 14);
    CHECK(proto_http_request_parse(TEXT("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), NULL, NULL, &used) == PROTO_NULL);
    CHECK(proto_http_request_parse(NULL, 3, NULL, &head, &used) == PROTO_NULL);
    CHECK(proto_http_request_parse(U(text), SIZE_MAX, NULL, &head, &used) == PROTO_NULL);
    CHECK(proto_http_request_parse(NULL, 0, NULL, &head, NULL) == PROTO_MORE);
    proto_http_rules_requests(&rules);
    rules.fields = 3;
    CHECK(proto_http_request_parse(TEXT(text), &rules, &head, &used) == PROTO_HTTP_TOO_MANY_FIELDS);

    CHECK(proto_http_response_parse(TEXT("HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n"), NULL, &head, &used) == PROTO_EVENT);
    CHECK(head.status == 404 && is(head.reason, "Not Found") && head.version == 10 && head.body == PROTO_HTTP_BODY_UNTIL_CLOSE);
    proto_http_rules_responses(&rules);
    rules.leniency &= ~(uint32_t)PROTO_HTTP_LENIENT_BARE_STATUS;
    CHECK(proto_http_response_parse(TEXT("HTTP/1.1 204\r\n\r\n"), NULL, &head, &used) == PROTO_EVENT);
    CHECK(proto_http_response_parse(TEXT("HTTP/1.1 204\r\n\r\n"), &rules, &head, &used) == PROTO_HTTP_STATUS_LINE);
    uint8_t date[29];
    proto_http_date(784111777, date);
    CHECK(is((proto_bytes){date, 29}, "Sun, 06 Nov 1994 08:49:37 GMT"));
    proto_http_date(1, NULL), proto_http_rules_requests(NULL), proto_http_rules_responses(NULL);
}

static void bodies(void) {
    static const char text[] = "3\r\nabc\r\n0\r\nX: y\r\n\r\nrest";
    proto_http_body body;
    proto_http_fields trailers;
    proto_bytes piece, value;
    size_t used, at = 0;
    CHECK(proto_http_body_init(&body, PROTO_HTTP_BODY_CHUNKED, 0) == PROTO_OK);
    CHECK(proto_http_body_next(&body, NULL, U(text), sizeof text - 1, &used, &piece, &trailers) == PROTO_EVENT && is(piece, "abc"));
    at += used;
    CHECK(proto_http_body_next(&body, NULL, U(text) + at, sizeof text - 1 - at, &used, &piece, &trailers) == PROTO_EVENT);
    CHECK(piece.length == 0 && proto_http_field_find(&trailers, TEXT("x"), &value) && is(value, "y"));
    at += used;
    CHECK(!strcmp(text + at, "rest") && proto_http_body_eof(&body) == PROTO_OK);
    CHECK(proto_http_body_init(&body, PROTO_HTTP_BODY_CHUNKED, 0) == PROTO_OK);
    CHECK(proto_http_body_next(&body, NULL, TEXT("3\nabc"), &used, &piece, NULL) == PROTO_HTTP_BARE_LF);
    CHECK(proto_http_body_init(&body, PROTO_HTTP_BODY_LENGTH, 7) == PROTO_OK && proto_http_body_eof(&body) == PROTO_HTTP_TRUNCATED);
    CHECK(proto_http_body_init(&body, 9, 0) == PROTO_ARGUMENT && proto_http_body_init(NULL, 0, 0) == PROTO_NULL);
    CHECK(proto_http_body_next(NULL, NULL, NULL, 0, &used, &piece, NULL) == PROTO_NULL && proto_http_body_eof(NULL) == PROTO_NULL);
}

/* Both roles over memory: the request arrives byte by byte, the response in one piece. */
static void exchange(void) {
    static const proto_field host = {BYTES("Host"), BYTES("example.org")}, type = {BYTES("Content-Type"), BYTES("text/plain")};
    static const proto_field length = {BYTES("Content-Length"), BYTES("1")}, folded = {BYTES("A"), BYTES("b\r\nc: d")};
    uint8_t up[256], down[256], tiny[8];
    proto_buffer to_server = {up, sizeof up, 0}, to_client = {down, sizeof down, 0}, small = {tiny, sizeof tiny, 0};
    proto_http_server server;
    proto_http_client client;
    proto_http_event event;
    size_t used, at = 0;
    char content[16] = "";
    CHECK(proto_http_server_init(&server) == PROTO_OK && proto_http_client_init(&client) == PROTO_OK);
    CHECK(proto_http_server_is_idle(&server) && proto_http_client_is_idle(&client));

    CHECK(proto_http_client_request(&client, TEXT("PUT"), TEXT("/n"), NULL, 0, PROTO_HTTP_BODY_CHUNKED, 0, &to_server) == PROTO_HTTP_MISUSE_HOST);
    CHECK(proto_http_client_request(&client, TEXT("PUT"), TEXT("/n"), &host, 1, 7, 0, &to_server) == PROTO_ARGUMENT);
    CHECK(proto_http_client_request(&client, TEXT("PUT"), TEXT("/n"), NULL, 1, 0, 0, &to_server) == PROTO_NULL);
    CHECK(proto_http_client_request(&client, TEXT("PUT"), TEXT("/\xff"), &host, 1, 0, 0, &to_server) == PROTO_NOT_UTF8);
    CHECK(proto_http_client_request(&client, TEXT("PUT"), TEXT("/n"), &host, 1, 0, 0, &small) == PROTO_NO_SPACE && !small.length);
    CHECK(!to_server.length && proto_http_client_is_idle(&client)); /* errors change nothing */
    CHECK(proto_http_client_request(&client, TEXT("PUT"), TEXT("/n"), &host, 1, PROTO_HTTP_BODY_CHUNKED, 0, &to_server) == PROTO_OK);
    CHECK(proto_http_client_data(&client, TEXT("hello"), &to_server) == PROTO_OK);
    CHECK(proto_http_client_finish(&client, NULL, 0, &to_server) == PROTO_OK);

    for (size_t end = 0; end <= to_server.length; end++) {
        int32_t got;
        uint8_t *bytes = copy(up + at, end - at);
        size_t begin = at;
        while ((got = proto_http_server_next(&server, NULL, bytes + (at - begin), end - at, &used, &event)) == PROTO_EVENT) {
            if (event.kind == PROTO_HTTP_HEAD) CHECK(is(event.head.method, "PUT") && event.head.body == PROTO_HTTP_BODY_CHUNKED);
            if (event.kind == PROTO_HTTP_DATA) strncat(content, (const char *)event.data.data, event.data.length);
            if (event.kind == PROTO_HTTP_PAUSED) break;
            at += used;
        }
        CHECK(got >= 0);
        if (got == PROTO_MORE) at += used; /* a chunk line is used before its data has arrived */
        free(bytes);
    }
    CHECK(at == to_server.length && !strcmp(content, "hello") && proto_http_server_can_respond(&server));

    CHECK(proto_http_server_respond(&server, 200, &length, 1, NULL, 0, NULL, &to_client) == PROTO_HTTP_MISUSE_FRAMING_FIELD);
    CHECK(proto_http_server_respond(&server, 200, &folded, 1, NULL, 0, NULL, &to_client) == PROTO_HTTP_MISUSE_FIELD_VALUE);
    CHECK(proto_http_server_respond(&server, 99, NULL, 0, NULL, 0, NULL, &to_client) == PROTO_HTTP_MISUSE_STATUS);
    CHECK(proto_http_server_respond(&server, 200, NULL, 0, NULL, 2, NULL, &to_client) == PROTO_NULL);
    CHECK(proto_http_server_respond(&server, 200, NULL, 0, NULL, 0, NULL, &small) == PROTO_NO_SPACE && !small.length);
    CHECK(proto_http_server_inform(&server, 103, NULL, 0, &to_client) == PROTO_OK);
    CHECK(proto_http_server_start(&server, 200, &type, 1, UINT64_MAX, NULL, &to_client) == PROTO_OK);
    CHECK(proto_http_server_data(&server, TEXT("abc"), &to_client) == PROTO_OK && proto_http_server_finish(&server, NULL, 0, &to_client) == PROTO_OK);
    CHECK(wrote(&to_client, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    CHECK(proto_http_server_is_idle(&server) && !proto_http_server_must_close(&server));

    static const proto_http_event_kind expected[] = {PROTO_HTTP_INFORMATIONAL, PROTO_HTTP_HEAD, PROTO_HTTP_DATA, PROTO_HTTP_END};
    at = 0;
    for (size_t i = 0; i < 4; i++, at += used) {
        CHECK(proto_http_client_next(&client, NULL, down + at, to_client.length - at, &used, &event) == PROTO_EVENT);
        CHECK(event.kind == expected[i]);
    }
    CHECK(at == to_client.length && proto_http_client_is_idle(&client) && !proto_http_client_must_close(&client));
    CHECK(proto_http_client_pipeline(&client, TEXT("POST"), TEXT("/"), &host, 1, &to_server) == PROTO_HTTP_MISUSE_NOT_ALLOWED);

    char response[] = "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n"; /* folded */
    proto_bytes value;
    CHECK(proto_http_client_pipeline(&client, TEXT("GET"), TEXT("/"), &host, 1, &to_server) == PROTO_OK);
    CHECK(proto_http_client_next(&client, NULL, (uint8_t *)response, sizeof response - 1, &used, &event) == PROTO_EVENT);
    CHECK(proto_http_field_find(&event.head.fields, TEXT("a"), &value) && value.length >= 3 && value.data[0] == 'b');

    CHECK(proto_http_server_next(&server, NULL, TEXT("GET / HTTP/1.1\n"), &used, &event) == PROTO_HTTP_BARE_LF);
    CHECK(proto_http_server_can_respond(&server));
    CHECK(proto_http_server_respond(&server, 400, NULL, 0, NULL, 0, NULL, &to_client) == PROTO_OK && proto_http_server_must_close(&server));
    CHECK(proto_http_server_next(NULL, NULL, NULL, 0, &used, &event) == PROTO_NULL);
    CHECK(proto_http_server_next(&server, NULL, NULL, 0, NULL, &event) == PROTO_NULL);
    proto_http_server_eof(NULL), proto_http_client_eof(NULL), proto_http_server_close_after(NULL), proto_http_server_give_up(NULL);
    CHECK(!proto_http_server_can_respond(NULL) && !proto_http_server_expects_continue(NULL) && proto_http_server_init(NULL) == PROTO_NULL);
}

static void frames(void) {
    uint8_t hello[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, memory[32];
    proto_buffer out = {memory, sizeof memory, 0};
    proto_ws_decoder decoder;
    proto_ws_header header;
    proto_ws_event event;
    proto_ws_limits limits;
    size_t used;
    CHECK(proto_ws_header_read(hello, 6, &header, &used) == PROTO_EVENT && used == 6 && header.masked && header.length == 5);
    CHECK(proto_ws_header_read(hello, 5, &header, &used) == PROTO_MORE && proto_ws_header_read(U("\x83\x00"), 2, &header, &used) == PROTO_WS_RESERVED_OPCODE);
    CHECK(proto_ws_frame_write(&header, TEXT("Hello"), &out) == PROTO_OK && out.length == 11 && !memcmp(memory, hello, 11));
    header.opcode = 3;
    CHECK(proto_ws_frame_write(&header, TEXT("Hello"), &out) == PROTO_ARGUMENT && proto_ws_frame_write(NULL, NULL, 0, &out) == PROTO_NULL);
    header.opcode = 2;
    out.capacity = 15; /* room for the header alone */
    CHECK(proto_ws_frame_write(&header, TEXT("Hello"), &out) == PROTO_NO_SPACE && out.length == 11);
    CHECK(proto_ws_decoder_init(&decoder, PROTO_WS_SERVER, NULL) == PROTO_OK && proto_ws_decoder_init(&decoder, 2, NULL) == PROTO_ARGUMENT);
    uint8_t *bytes = copy(hello, sizeof hello);
    CHECK(proto_ws_decoder_next(&decoder, bytes, sizeof hello, &used, &event) == PROTO_EVENT && used == 11);
    CHECK(event.kind == PROTO_WS_MESSAGE && event.text && is(event.data, "Hello"));
    free(bytes);
    CHECK(proto_ws_decoder_next(&decoder, memory, 0, &used, &event) == PROTO_MORE && used == 0);
    proto_ws_limits_default(&limits);
    limits.message = 4;
    CHECK(proto_ws_decoder_init(&decoder, PROTO_WS_SERVER, &limits) == PROTO_OK);
    for (int i = 0; i < 2; i++) CHECK(proto_ws_decoder_next(&decoder, hello, sizeof hello, &used, &event) == PROTO_WS_MESSAGE_TOO_LONG);
    uint8_t masked[] = "abcdefg";
    CHECK(proto_ws_mask(U("\1\2\3\4"), 0, masked, 7) == PROTO_OK && proto_ws_mask(U("\1\2\3\4"), 0, masked, 3) == PROTO_OK);
    CHECK(proto_ws_mask(U("\1\2\3\4"), 3, masked + 3, 4) == PROTO_OK && !strcmp((char *)masked, "abcdefg"));
    CHECK(proto_ws_mask(NULL, 0, masked, 1) == PROTO_NULL && proto_ws_decoder_next(NULL, NULL, 0, &used, &event) == PROTO_NULL);
}

#ifdef PROTO_STD
/* The handshake and messages of both roles, in memory. */
static void websocket(void) {
    static const proto_bytes protocols[] = {BYTES("chat"), BYTES("soap")};
    static const proto_field origin = {BYTES("Origin"), BYTES("http://example.com")};
    const proto_ws_upgrade_options options = {.protocols = protocols + 1, .protocol_count = 1};
    uint8_t up[1024], down[1024];
    proto_buffer request = {up, sizeof up, 0}, response = {down, sizeof down, 0};
    proto_http_server http;
    proto_http_event event;
    proto_http_head head;
    proto_bytes chosen;
    size_t used;
    CHECK(proto_ws_request(TEXT("example.com"), TEXT("/"), U("the sample nonce"), protocols, 2, &origin, 1, &request) == PROTO_OK);
    proto_http_server_init(&http);
    CHECK(proto_http_server_next(&http, NULL, up, request.length, &used, &event) == PROTO_EVENT && event.head.wants_upgrade);
    CHECK(proto_ws_upgrade(&http, &event.head, &options, &chosen, &response) == PROTO_OK && is(chosen, "soap"));
    CHECK(proto_http_response_parse(down, response.length, NULL, &head, &used) == PROTO_EVENT && head.status == 101);
    CHECK(proto_ws_verify(&head, U("the sample nonce"), protocols, 2, &chosen) == PROTO_OK && is(chosen, "soap"));
    CHECK(proto_ws_verify(&head, U("the sample nonce"), protocols, 1, &chosen) == PROTO_WS_REFUSED_PROTOCOL);
    CHECK(proto_ws_verify(&head, U("another   nonce."), protocols, 2, &chosen) == PROTO_WS_REFUSED_ACCEPT);
    CHECK(proto_ws_request(TEXT("a b"), TEXT("/"), U("the sample nonce"), NULL, 0, NULL, 0, &request) == PROTO_WS_REQUEST_HOST);
    CHECK(proto_ws_accept(TEXT("dGhlIHNhbXBsZSBub25jZQ=="), down) == PROTO_OK && !memcmp(down, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28));
    CHECK(proto_ws_accept(TEXT("short"), down) == PROTO_WS_REJECT_KEY);

    static const char foreign[] = "GET / HTTP/1.1\r\nHost: example.com\r\nOrigin: http://other.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    proto_http_server_init(&http), response.length = 0;
    CHECK(proto_http_server_next(&http, NULL, TEXT(foreign), &used, &event) == PROTO_EVENT);
    CHECK(proto_ws_upgrade(&http, &event.head, NULL, NULL, &response) == PROTO_WS_REJECT_ORIGIN && !memcmp(down, "HTTP/1.1 403", 12));

    CHECK(proto_ws_new(2, NULL) == NULL);
    proto_ws_config config;
    proto_ws_config_default(&config);
    config.fragment = 3;
    proto_ws *server = proto_ws_new(PROTO_WS_SERVER, NULL), *client = proto_ws_new(PROTO_WS_CLIENT, &config);
    proto_ws_event got;
    CHECK(proto_ws_message(client, true, TEXT("gr\xc3\xbc\xc3\x9f dich")) == PROTO_OK && proto_ws_ping(client, TEXT("?")) == PROTO_OK);
    CHECK(proto_ws_message(client, true, TEXT("\xff")) == PROTO_NOT_UTF8);
    char message[32] = "";
    proto_bytes sent;
    while ((sent = proto_ws_output(client)).length) { /* byte by byte */
        uint8_t byte[131], last = 0;
        static uint8_t left[131];
        static size_t lefts;
        memcpy(byte, left, lefts), byte[lefts] = sent.data[0];
        proto_ws_sent(client, 1);
        int32_t result = proto_ws_next(server, byte, lefts + 1, &used, &got);
        CHECK(result >= 0 && !last);
        if (result == PROTO_EVENT && got.kind == PROTO_WS_MESSAGE) memcpy(message, got.data.data, got.data.length);
        memcpy(left, byte + used, lefts = lefts + 1 - used);
    }
    CHECK(!strcmp(message, "gr\xc3\xbc\xc3\x9f dich"));
    sent = proto_ws_output(server);
    CHECK(is(sent, "\x8a\x01?")); /* the Pong */
    CHECK(proto_ws_close(server, 1006, NULL, 0) == PROTO_ARGUMENT && proto_ws_close(server, 1000, TEXT("bye")) == PROTO_OK);
    CHECK(proto_ws_message(server, false, TEXT("late")) == PROTO_WS_MISUSE_CLOSED && proto_ws_get_state(server) == PROTO_WS_CLOSING);
    sent = proto_ws_output(server);
    uint8_t *bytes = copy(sent.data, sent.length);
    size_t first;
    CHECK(proto_ws_next(client, bytes, sent.length, &first, &got) == PROTO_EVENT && got.kind == PROTO_WS_PONG);
    CHECK(proto_ws_next(client, bytes + first, sent.length - first, &used, &got) == PROTO_EVENT && got.kind == PROTO_WS_CLOSE);
    CHECK(got.code == 1000 && is(got.data, "bye") && proto_ws_get_state(client) == PROTO_WS_CLOSED && proto_ws_eof(client));
    free(bytes);
    uint8_t unmasked[] = {0x81, 1, 'a'};
    proto_ws *other = proto_ws_new(PROTO_WS_SERVER, NULL);
    CHECK(proto_ws_next(other, unmasked, 3, &used, &got) == PROTO_WS_UNMASKED && proto_ws_get_state(other) == PROTO_WS_FAILED);
    CHECK(proto_ws_output(other).length > 2 && proto_ws_output(other).data[0] == 0x88); /* the Close frame that says so */
    proto_ws_free(server), proto_ws_free(client), proto_ws_free(other), proto_ws_free(NULL);
    proto_ws_sent(NULL, 1), proto_ws_refill(NULL, 1);
    CHECK(proto_ws_message(NULL, true, NULL, 0) == PROTO_NULL && proto_ws_output(NULL).length == 0 && !proto_ws_eof(NULL));
}

static void wheel(void) {
    proto_wheel *wheel = proto_wheel_new(100);
    proto_timer due[4];
    uint64_t keys[10], tick;
    for (uint64_t i = 0; i < 10; i++) CHECK(proto_wheel_insert(wheel, 200 + i, i, &keys[i]) == PROTO_OK && keys[i]);
    CHECK(proto_wheel_cancel(wheel, keys[0]) && !proto_wheel_cancel(wheel, keys[0]) && proto_wheel_reset(wheel, keys[1], 5000));
    CHECK(!proto_wheel_reset(wheel, 0, 1) && proto_wheel_length(wheel) == 9 && proto_wheel_next_wake(wheel, &tick) && tick <= 202);
    CHECK(proto_wheel_poll(wheel, 201, due, 4) == 0);
    size_t total = 0;
    for (int i = 0; i < 20 && proto_wheel_next_wake(wheel, &tick) && tick <= 300; i++) total += proto_wheel_poll(wheel, 300, due, 4);
    CHECK(total == 8 && proto_wheel_length(wheel) == 1);
    while (proto_wheel_next_wake(wheel, &tick) && !(total = proto_wheel_poll(wheel, tick, due, 4))) {}
    CHECK(total == 1 && due[0].value == 1 && due[0].deadline == 5000 && due[0].key == keys[1] && !proto_wheel_next_wake(wheel, &tick));
    proto_wheel_free(wheel), proto_wheel_free(NULL);
    CHECK(proto_wheel_insert(NULL, 1, 1, keys) == PROTO_NULL && proto_wheel_poll(NULL, 1, due, 4) == 0 && !proto_wheel_length(NULL));
}
#endif

static void resp(void) {
    static const char text[] = "*3\r\n$5\r\nhello\r\n:-42\r\n,1.5\r\n";
    proto_resp_decoder decoder;
    proto_resp_encoder encoder;
    proto_resp_commands commands;
    proto_resp_event event;
    uint8_t memory[64];
    proto_buffer out = {memory, sizeof memory, 0};
    size_t used, at = 0;
    unsigned events = 0;
    CHECK(proto_resp_decoder_init(&decoder, 3, NULL) == PROTO_OK && proto_resp_encoder_init(&encoder, 3) == PROTO_OK);
    while (proto_resp_decoder_next(&decoder, U(text) + at, sizeof text - 1 - at, &used, &event) == PROTO_EVENT) {
        at += used, events++;
        CHECK(proto_resp_encoder_write(&encoder, &event, &out) == PROTO_OK);
        if (event.kind == PROTO_RESP_KIND_BULK) CHECK(is(event.data, "hello") && event.form == PROTO_RESP_FORM_STRING);
        if (event.kind == PROTO_RESP_KIND_BEGIN) CHECK(event.integer == 3 && event.form == PROTO_RESP_FORM_ARRAY);
        if (event.kind == PROTO_RESP_KIND_INTEGER) CHECK(event.integer == -42);
    }
    CHECK(events == 5 && wrote(&out, text) && proto_resp_decoder_is_between(&decoder) && proto_resp_encoder_is_between(&encoder));
    CHECK(proto_resp_decoder_set_version(&decoder, 2) == PROTO_OK && proto_resp_decoder_set_version(&decoder, 4) == PROTO_ARGUMENT);
    for (int i = 0; i < 2; i++) CHECK(proto_resp_decoder_next(&decoder, TEXT(",1.5\r\n"), &used, &event) == PROTO_RESP_RESP3_TYPE);
    event = (proto_resp_event){.kind = PROTO_RESP_KIND_SIMPLE, .data = BYTES("a\r\nb")};
    CHECK(proto_resp_encoder_write(&encoder, &event, &out) == PROTO_RESP_MISUSE_LINE_BREAK && wrote(&out, text));
    event.kind = 99;
    CHECK(proto_resp_encoder_write(&encoder, &event, &out) == PROTO_ARGUMENT);

    static const proto_bytes set[] = {BYTES("SET"), BYTES("k"), BYTES("v")};
    proto_bytes list[2];
    size_t count;
    out.length = 0;
    CHECK(proto_resp_command_write(set, 3, &out) == PROTO_OK && wrote(&out, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"));
    CHECK(proto_resp_command_write(set, 0, &out) == PROTO_RESP_MISUSE_EMPTY_COMMAND && proto_resp_command_write(NULL, 1, &out) == PROTO_NULL);
    CHECK(proto_resp_commands_init(&commands) == PROTO_OK);
    for (size_t cut = 0; cut < out.length; cut++) CHECK(proto_resp_commands_next(&commands, NULL, memory, cut, &used, list, 2, &count) == PROTO_MORE);
    CHECK(proto_resp_commands_next(&commands, NULL, memory, out.length, &used, list, 2, &count) == PROTO_EVENT && used == out.length);
    CHECK(count == 3 && is(list[0], "SET") && is(list[1], "k"));
    CHECK(proto_resp_commands_next(&commands, NULL, TEXT("GET k\r\n"), &used, list, 2, &count) == PROTO_RESP_NOT_A_COMMAND);
    proto_resp_rules rules;
    proto_resp_rules_strict(&rules), proto_resp_rules_replies(NULL);
    rules.bulk = 4;
    CHECK(proto_resp_decoder_init(&decoder, 2, &rules) == PROTO_OK && proto_resp_decoder_init(&decoder, 1, NULL) == PROTO_ARGUMENT);
    CHECK(proto_resp_decoder_next(&decoder, TEXT("$5\r\nhello\r\n"), &used, &event) == PROTO_RESP_BULK_TOO_LONG);
}

int main(void) {
    errors(), heads(), bodies(), exchange(), frames(), resp();
#ifdef PROTO_STD
    websocket(), wheel();
#endif
    printf("%u checks\n", checks);
    return 0;
}
