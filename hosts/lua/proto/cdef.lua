-- Generated from hosts/c/include/proto.h by `ci/check lua --cdef`: do not change it here.
return [[
typedef enum proto_fault {
    PROTO_FAULT_NONE = 0,
    PROTO_FAULT_PEER = 1,
    PROTO_FAULT_PROGRAM = 2,
} proto_fault;
typedef enum proto_http_event_kind {
    PROTO_HTTP_HEAD = 0,
    PROTO_HTTP_DATA = 1,
    PROTO_HTTP_END = 2,
    PROTO_HTTP_PAUSED = 3,
    PROTO_HTTP_CLOSED = 4,
    PROTO_HTTP_INFORMATIONAL = 5,
    PROTO_HTTP_SWITCHED = 6,
} proto_http_event_kind;
typedef enum proto_http_body_kind {
    PROTO_HTTP_BODY_EMPTY = 0,
    PROTO_HTTP_BODY_LENGTH = 1,
    PROTO_HTTP_BODY_CHUNKED = 2,
    PROTO_HTTP_BODY_UNTIL_CLOSE = 3,
} proto_http_body_kind;
typedef enum proto_server_event_kind {
    PROTO_SERVER_REQUEST = 0,
    PROTO_SERVER_OPENED = 1,
    PROTO_SERVER_MESSAGE = 2,
    PROTO_SERVER_CLOSED = 3,
} proto_server_event_kind;
typedef enum proto_ws_event_kind {
    PROTO_WS_MESSAGE = 0,
    PROTO_WS_PART = 1,
    PROTO_WS_PING = 2,
    PROTO_WS_PONG = 3,
    PROTO_WS_CLOSE = 4,
} proto_ws_event_kind;
typedef enum proto_ws_state {
    PROTO_WS_OPEN = 0,
    PROTO_WS_CLOSING = 1,
    PROTO_WS_CLOSED = 2,
    PROTO_WS_FAILED = 3,
} proto_ws_state;
typedef enum proto_ws_role {
    PROTO_WS_SERVER = 0,
    PROTO_WS_CLIENT = 1,
} proto_ws_role;
typedef enum proto_resp_kind {
    PROTO_RESP_KIND_SIMPLE = 0,
    PROTO_RESP_KIND_ERROR = 1,
    PROTO_RESP_KIND_INTEGER = 2,
    PROTO_RESP_KIND_DOUBLE = 3,
    PROTO_RESP_KIND_BOOLEAN = 4,
    PROTO_RESP_KIND_BIG_NUMBER = 5,
    PROTO_RESP_KIND_NULL = 6,
    PROTO_RESP_KIND_BULK = 7,
    PROTO_RESP_KIND_PART = 8,
    PROTO_RESP_KIND_BEGIN = 9,
    PROTO_RESP_KIND_END = 10,
} proto_resp_kind;
typedef enum proto_resp_form {
    PROTO_RESP_FORM_NONE = 0,
    PROTO_RESP_FORM_STRING = 36,
    PROTO_RESP_FORM_ERROR = 33,
    PROTO_RESP_FORM_VERBATIM = 61,
    PROTO_RESP_FORM_NULL = 95,
    PROTO_RESP_FORM_ARRAY = 42,
    PROTO_RESP_FORM_MAP = 37,
    PROTO_RESP_FORM_SET = 126,
    PROTO_RESP_FORM_PUSH = 62,
    PROTO_RESP_FORM_ATTRIBUTE = 124,
} proto_resp_form;
typedef struct proto_server proto_server;
typedef struct proto_wheel proto_wheel;
typedef struct proto_ws proto_ws;
typedef struct proto_http_client {
    uint64_t opaque[8];
} proto_http_client;
typedef struct proto_bytes {
    const uint8_t *data;
    size_t length;
} proto_bytes;
typedef struct proto_field {
    struct proto_bytes name;
    struct proto_bytes value;
} proto_field;
typedef struct proto_buffer {
    uint8_t *data;
    size_t capacity;
    size_t length;
} proto_buffer;
typedef struct proto_http_rules {
    size_t request_line;
    size_t fields;
    size_t fields_bytes;
    uint64_t body;
    size_t chunk_line;
    size_t chunk_extensions;
    size_t trailers;
    size_t trailers_bytes;
    size_t leading_lines;
    uint32_t leniency;
} proto_http_rules;
typedef struct proto_http_fields {
    size_t opaque[3];
} proto_http_fields;
typedef struct proto_http_head {
    struct proto_bytes method;
    struct proto_bytes target;
    struct proto_bytes reason;
    struct proto_http_fields fields;
    uint64_t content_length;
    enum proto_http_body_kind body;
    uint16_t status;
    uint8_t version;
    bool keep_alive;
    bool expects_continue;
    bool wants_upgrade;
} proto_http_head;
typedef struct proto_http_event {
    enum proto_http_event_kind kind;
    struct proto_http_head head;
    struct proto_bytes data;
    struct proto_http_fields trailers;
} proto_http_event;
typedef struct proto_http_body {
    uint64_t opaque[4];
} proto_http_body;
typedef struct proto_http_server {
    uint64_t opaque[7];
} proto_http_server;
typedef struct proto_resp_rules {
    uint64_t bulk;
    uint64_t reply;
    uint32_t items;
    uint32_t line;
    uint32_t command;
    uint32_t arguments;
    uint8_t depth;
    bool nested_push;
    bool any_nan;
} proto_resp_rules;
typedef struct proto_resp_decoder {
    uint64_t opaque[77];
} proto_resp_decoder;
typedef struct proto_resp_event {
    uint32_t kind;
    uint32_t form;
    struct proto_bytes data;
    int64_t integer;
    double number;
    uint8_t encoding[3];
} proto_resp_event;
typedef struct proto_resp_encoder {
    uint64_t opaque[69];
} proto_resp_encoder;
typedef struct proto_resp_commands {
    uint64_t opaque[2];
} proto_resp_commands;
typedef struct proto_server_config {
    size_t connections;
    uint64_t body;
    uint64_t message;
    uint64_t idle;
    uint64_t answer;
    size_t output;
} proto_server_config;
typedef struct proto_server_event {
    enum proto_server_event_kind kind;
    bool text;
    uint16_t code;
    uint64_t id;
    struct proto_http_head head;
    struct proto_bytes data;
} proto_server_event;
typedef struct proto_ws_upgrade_options {
    bool any_origin;
    const struct proto_bytes *origins;
    size_t origin_count;
    const struct proto_bytes *protocols;
    size_t protocol_count;
} proto_ws_upgrade_options;
typedef struct proto_timer {
    uint64_t key;
    uint64_t deadline;
    uint64_t value;
} proto_timer;
typedef struct proto_ws_limits {
    uint64_t frame;
    uint64_t message;
    uint32_t fragments;
    uint32_t empty_fragments;
    uint32_t control_frames;
} proto_ws_limits;
typedef struct proto_ws_config {
    struct proto_ws_limits limits;
    bool parts;
    size_t fragment;
} proto_ws_config;
typedef struct proto_ws_event {
    enum proto_ws_event_kind kind;
    bool text;
    bool last;
    uint16_t code;
    struct proto_bytes data;
} proto_ws_event;
typedef struct proto_ws_decoder {
    uint64_t opaque[11];
} proto_ws_decoder;
typedef struct proto_ws_header {
    uint64_t length;
    uint8_t opcode;
    uint8_t rsv;
    bool fin;
    bool masked;
    uint8_t key[4];
} proto_ws_header;
uint32_t proto_version(void);
const char *proto_version_text(void);
const char *proto_error_name(int32_t error);
const char *proto_error_section(int32_t error);
enum proto_fault proto_error_fault(int32_t error);
uint16_t proto_error_status(int32_t error);
uint16_t proto_error_close_code(int32_t error);
int32_t proto_http_client_init(struct proto_http_client *client);
int32_t proto_http_client_request(struct proto_http_client *client,
                                  const uint8_t *method,
                                  size_t method_length,
                                  const uint8_t *target,
                                  size_t target_length,
                                  const struct proto_field *list,
                                  size_t count,
                                  uint32_t body,
                                  uint64_t content_length,
                                  struct proto_buffer *out);
int32_t proto_http_client_pipeline(struct proto_http_client *client,
                                   const uint8_t *method,
                                   size_t method_length,
                                   const uint8_t *target,
                                   size_t target_length,
                                   const struct proto_field *list,
                                   size_t count,
                                   struct proto_buffer *out);
int32_t proto_http_client_data(struct proto_http_client *client,
                               const uint8_t *data,
                               size_t length,
                               struct proto_buffer *out);
int32_t proto_http_client_finish(struct proto_http_client *client,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);
int32_t proto_http_client_next(struct proto_http_client *client,
                               const struct proto_http_rules *rules,
                               uint8_t *data,
                               size_t length,
                               size_t *used,
                               struct proto_http_event *event);
void proto_http_client_eof(struct proto_http_client *client);
bool proto_http_client_is_idle(const struct proto_http_client *client);
bool proto_http_client_must_close(const struct proto_http_client *client);
int32_t proto_http_request_parse(const uint8_t *data,
                                 size_t length,
                                 const struct proto_http_rules *rules,
                                 struct proto_http_head *head,
                                 size_t *used);
int32_t proto_http_response_parse(const uint8_t *data,
                                  size_t length,
                                  const struct proto_http_rules *rules,
                                  struct proto_http_head *head,
                                  size_t *used);
int32_t proto_http_path(const struct proto_http_head *head,
                        struct proto_bytes *path,
                        struct proto_bytes *query);
bool proto_http_field_find(const struct proto_http_fields *fields,
                           const uint8_t *name,
                           size_t name_length,
                           struct proto_bytes *value);
bool proto_http_field_has_token(const struct proto_http_fields *fields,
                                const uint8_t *name,
                                size_t name_length,
                                const uint8_t *token,
                                size_t token_length);
size_t proto_http_field_list(const struct proto_http_fields *fields,
                             struct proto_field *list,
                             size_t capacity);
void proto_http_date(uint64_t unix_seconds,
                     uint8_t *date);
int32_t proto_http_body_init(struct proto_http_body *body, uint32_t kind, uint64_t content_length);
int32_t proto_http_body_next(struct proto_http_body *body,
                             const struct proto_http_rules *rules,
                             const uint8_t *data,
                             size_t length,
                             size_t *used,
                             struct proto_bytes *piece,
                             struct proto_http_fields *trailers);
int32_t proto_http_body_eof(struct proto_http_body *body);
void proto_http_rules_requests(struct proto_http_rules *rules);
void proto_http_rules_responses(struct proto_http_rules *rules);
int32_t proto_http_server_init(struct proto_http_server *server);
int32_t proto_http_server_next(struct proto_http_server *server,
                               const struct proto_http_rules *rules,
                               const uint8_t *data,
                               size_t length,
                               size_t *used,
                               struct proto_http_event *event);
void proto_http_server_eof(struct proto_http_server *server);
int32_t proto_http_server_respond(struct proto_http_server *server,
                                  uint16_t code,
                                  const struct proto_field *list,
                                  size_t count,
                                  const uint8_t *body,
                                  size_t body_length,
                                  const uint8_t *date_field,
                                  struct proto_buffer *out);
int32_t proto_http_server_start(struct proto_http_server *server,
                                uint16_t code,
                                const struct proto_field *list,
                                size_t count,
                                uint64_t content_length,
                                const uint8_t *date_field,
                                struct proto_buffer *out);
int32_t proto_http_server_data(struct proto_http_server *server,
                               const uint8_t *data,
                               size_t length,
                               struct proto_buffer *out);
int32_t proto_http_server_finish(struct proto_http_server *server,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);
int32_t proto_http_server_inform(struct proto_http_server *server,
                                 uint16_t code,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);
int32_t proto_http_server_switch(struct proto_http_server *server,
                                 uint16_t code,
                                 const struct proto_field *list,
                                 size_t count,
                                 struct proto_buffer *out);
void proto_http_server_close_after(struct proto_http_server *server);
void proto_http_server_give_up(struct proto_http_server *server);
bool proto_http_server_can_respond(const struct proto_http_server *server);
bool proto_http_server_must_close(const struct proto_http_server *server);
bool proto_http_server_is_idle(const struct proto_http_server *server);
bool proto_http_server_expects_continue(const struct proto_http_server *server);
void proto_resp_rules_strict(struct proto_resp_rules *rules);
void proto_resp_rules_replies(struct proto_resp_rules *rules);
int32_t proto_resp_decoder_init(struct proto_resp_decoder *decoder, uint32_t of, const struct proto_resp_rules *rules);
int32_t proto_resp_decoder_set_version(struct proto_resp_decoder *decoder, uint32_t of);
int32_t proto_resp_decoder_next(struct proto_resp_decoder *decoder,
                                const uint8_t *data,
                                size_t length,
                                size_t *used,
                                struct proto_resp_event *event);
bool proto_resp_decoder_is_between(const struct proto_resp_decoder *decoder);
int32_t proto_resp_encoder_init(struct proto_resp_encoder *encoder,
                                uint32_t of);
int32_t proto_resp_encoder_write(struct proto_resp_encoder *encoder,
                                 const struct proto_resp_event *event,
                                 struct proto_buffer *out);
bool proto_resp_encoder_is_between(const struct proto_resp_encoder *encoder);
int32_t proto_resp_command_write(const struct proto_bytes *list, size_t count, struct proto_buffer *out);
int32_t proto_resp_commands_init(struct proto_resp_commands *commands);
int32_t proto_resp_commands_next(struct proto_resp_commands *commands,
                                 const struct proto_resp_rules *rules,
                                 const uint8_t *data,
                                 size_t length,
                                 size_t *used,
                                 struct proto_bytes *list,
                                 size_t capacity,
                                 size_t *count);
void proto_server_config_default(struct proto_server_config *config);
struct proto_server *proto_server_new(const struct proto_server_config *config);
void proto_server_free(struct proto_server *server);
int32_t proto_server_listen(struct proto_server *server,
                            const uint8_t *address,
                            size_t length);
int32_t proto_server_fd(const struct proto_server *server);
int32_t proto_server_poll(struct proto_server *server,
                          int32_t timeout);
int32_t proto_server_next(struct proto_server *server, struct proto_server_event *event);
int32_t proto_server_respond(struct proto_server *server,
                             uint64_t id,
                             uint16_t status,
                             const struct proto_field *list,
                             size_t count,
                             const uint8_t *body,
                             size_t length);
int32_t proto_server_start(struct proto_server *server,
                           uint64_t id,
                           uint16_t status,
                           const struct proto_field *list,
                           size_t count,
                           uint64_t content_length);
int32_t proto_server_write(struct proto_server *server, uint64_t id, const uint8_t *data, size_t length);
int32_t proto_server_finish(struct proto_server *server, uint64_t id);
int32_t proto_server_upgrade(struct proto_server *server,
                             uint64_t id,
                             const struct proto_ws_upgrade_options *options);
int32_t proto_server_send(struct proto_server *server, uint64_t id, bool is_text, const uint8_t *data, size_t length);
int32_t proto_server_close(struct proto_server *server,
                           uint64_t id,
                           uint16_t code,
                           const uint8_t *reason,
                           size_t length);
int32_t proto_server_remote(const struct proto_server *server, uint64_t id, struct proto_buffer *out);
void proto_server_stop(struct proto_server *server,
                       uint64_t drain);
bool proto_server_is_idle(const struct proto_server *server);
int32_t proto_server_errno(const struct proto_server *server);
struct proto_wheel *proto_wheel_new(uint64_t now);
void proto_wheel_free(struct proto_wheel *wheel);
int32_t proto_wheel_insert(struct proto_wheel *wheel,
                           uint64_t deadline,
                           uint64_t value,
                           uint64_t *key);
bool proto_wheel_reset(struct proto_wheel *wheel, uint64_t key, uint64_t deadline);
bool proto_wheel_cancel(struct proto_wheel *wheel, uint64_t key);
size_t proto_wheel_poll(struct proto_wheel *wheel,
                        uint64_t now,
                        struct proto_timer *due,
                        size_t capacity);
bool proto_wheel_next_wake(const struct proto_wheel *wheel, uint64_t *tick);
size_t proto_wheel_length(const struct proto_wheel *wheel);
void proto_ws_config_default(struct proto_ws_config *config);
extern void proto_random(uint8_t *bytes, size_t length);
struct proto_ws *proto_ws_new(uint32_t at,
                              const struct proto_ws_config *config);
void proto_ws_free(struct proto_ws *ws);
int32_t proto_ws_next(struct proto_ws *ws,
                      uint8_t *data,
                      size_t length,
                      size_t *used,
                      struct proto_ws_event *event);
struct proto_bytes proto_ws_output(const struct proto_ws *ws);
void proto_ws_sent(struct proto_ws *ws, size_t count);
int32_t proto_ws_message(struct proto_ws *ws, bool is_text, const uint8_t *data, size_t length);
int32_t proto_ws_part(struct proto_ws *ws, bool is_text, bool last, const uint8_t *data, size_t length);
int32_t proto_ws_ping(struct proto_ws *ws, const uint8_t *data, size_t length);
int32_t proto_ws_pong(struct proto_ws *ws, const uint8_t *data, size_t length);
int32_t proto_ws_close(struct proto_ws *ws,
                       uint16_t code,
                       const uint8_t *reason,
                       size_t length);
bool proto_ws_eof(struct proto_ws *ws);
void proto_ws_refill(struct proto_ws *ws, uint32_t frames);
enum proto_ws_state proto_ws_get_state(const struct proto_ws *ws);
void proto_ws_limits_default(struct proto_ws_limits *limits);
int32_t proto_ws_decoder_init(struct proto_ws_decoder *decoder, uint32_t at, const struct proto_ws_limits *limits);
int32_t proto_ws_decoder_next(struct proto_ws_decoder *decoder,
                              uint8_t *data,
                              size_t length,
                              size_t *used,
                              struct proto_ws_event *event);
int32_t proto_ws_header_read(const uint8_t *data,
                             size_t length,
                             struct proto_ws_header *header,
                             size_t *used);
int32_t proto_ws_frame_write(const struct proto_ws_header *header,
                             const uint8_t *payload,
                             size_t payload_length,
                             struct proto_buffer *out);
int32_t proto_ws_mask(const uint8_t *key,
                      uint64_t offset,
                      uint8_t *payload,
                      size_t length);
int32_t proto_ws_upgrade(struct proto_http_server *server,
                         const struct proto_http_head *head,
                         const struct proto_ws_upgrade_options *options,
                         struct proto_bytes *protocol,
                         struct proto_buffer *out);
int32_t proto_ws_accept(const uint8_t *key,
                        size_t length,
                        uint8_t *accept);
int32_t proto_ws_request(const uint8_t *host,
                         size_t host_length,
                         const uint8_t *target,
                         size_t target_length,
                         const uint8_t *nonce,
                         const struct proto_bytes *protocols,
                         size_t protocol_count,
                         const struct proto_field *list,
                         size_t count,
                         struct proto_buffer *out);
int32_t proto_ws_verify(const struct proto_http_head *head,
                        const uint8_t *nonce,
                        const struct proto_bytes *protocols,
                        size_t protocol_count,
                        struct proto_bytes *protocol);
]]
