/* Nanoseconds per request head: this library, picohttpparser, llhttp. The best of several runs of each, taken in turns. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "llhttp.h"
#include "picohttpparser.h"
#include "proto.h"

static const char small[] = "GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n";
static const char browser[] =
    "GET /wp-content/uploads/2010/03/hello-kitty-darth-vader-pink.jpg HTTP/1.1\r\nHost: www.kittyhell.com\r\n"
    "User-Agent: Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 Firefox/3.6.3 Pathtraq/0.9\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: ja,en-us;q=0.7,en;q=0.3\r\n"
    "Accept-Encoding: gzip,deflate\r\nAccept-Charset: Shift_JIS,utf-8;q=0.7,*;q=0.7\r\nKeep-Alive: 115\r\nConnection: keep-alive\r\n"
    "Cookie: wp_ozh_wsa_visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; __utma=xxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x;"
    " __utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|utmcmd=referral\r\n\r\n";

static size_t sum; /* what is read is used, so that no compiler leaves it out */

static int by_proto(const char *text, size_t length) {
    proto_http_server server;
    proto_http_event event;
    size_t used;
    proto_http_server_init(&server);
    int32_t got = proto_http_server_next(&server, NULL, (const uint8_t *)text, length, &used, &event);
    sum += event.head.target.length;
    return got == PROTO_EVENT && used == length;
}

static int by_proto_with_fields(const char *text, size_t length) {
    proto_http_head head;
    proto_field fields[32];
    size_t used;
    int32_t got = proto_http_request_parse((const uint8_t *)text, length, NULL, &head, &used);
    sum += proto_http_field_list(&head.fields, fields, 32);
    return got == PROTO_EVENT && used == length;
}

static int by_pico(const char *text, size_t length) {
    struct phr_header headers[32];
    const char *method, *path;
    size_t method_length, path_length, count = 32;
    int minor;
    int got = phr_parse_request(text, length, &method, &method_length, &path, &path_length, &minor, headers, &count, 0);
    sum += path_length + count;
    return got == (int)length;
}

static int on_span(llhttp_t *parser, const char *at, size_t length) {
    (void)parser, (void)at;
    sum += length;
    return 0;
}

static int on_done(llhttp_t *parser) {
    sum += parser->method;
    return 0;
}

static int by_llhttp(const char *text, size_t length) {
    static llhttp_settings_t settings;
    llhttp_t parser;
    settings.on_url = settings.on_header_field = settings.on_header_value = on_span;
    settings.on_message_complete = on_done;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    return llhttp_execute(&parser, text, length) == HPE_OK;
}

static double nanoseconds(int (*parse)(const char *, size_t), const char *text, size_t length) {
    enum { TIMES = 200000 };
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    for (int i = 0; i < TIMES; i++)
        if (!parse(text, length)) return 1e9;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    return ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / TIMES;
}

int main(void) {
    static const struct {
        const char *name;
        int (*parse)(const char *, size_t);
    } parsers[] = {{"libproto", by_proto}, {"libproto, and lists the fields", by_proto_with_fields}, {"picohttpparser", by_pico}, {"llhttp", by_llhttp}};
    static const struct {
        const char *text;
        size_t length;
    } heads[] = {{small, sizeof small - 1}, {browser, sizeof browser - 1}};
    double best[4][2] = {{1e9, 1e9}, {1e9, 1e9}, {1e9, 1e9}, {1e9, 1e9}};
    for (int round = 0; round < 15; round++)
        for (int at = 0; at < 8; at++) {
            double took = nanoseconds(parsers[at / 2].parse, heads[at % 2].text, heads[at % 2].length);
            if (took < best[at / 2][at % 2]) best[at / 2][at % 2] = took;
        }
    printf("| | %zu bytes, 1 field | %zu bytes, 9 fields |\n|--|--:|--:|\n", heads[0].length, heads[1].length);
    for (int at = 0; at < 4; at++) printf("| %s | %.0f | %.0f |\n", parsers[at].name, best[at][0], best[at][1]);
    return sum == 0;
}
