/* The module for Lua 5.4, over libproto. */
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "proto.h"

#define SERVER "proto.server"
#define EVENT "proto.event"
#define FRAMES "proto.frames"

static int push_bytes(lua_State *L, proto_bytes bytes) {
    lua_pushlstring(L, (const char *)bytes.data, bytes.length);
    return 1;
}

static int failed(lua_State *L, int32_t code) {
    lua_pushnil(L);
    lua_pushstring(L, proto_error_name(code));
    lua_pushstring(L, proto_error_section(code));
    return 3;
}

static int done(lua_State *L, int32_t code) {
    if (code < 0) return failed(L, code);
    lua_pushboolean(L, 1);
    return 1;
}

/* Pushes a part of a head; nil if it has no such part. */
static int push_part(lua_State *L, const proto_http_head *head, const char *name) {
    proto_bytes path, query;
    if (!strcmp(name, "method")) return push_bytes(L, head->method);
    if (!strcmp(name, "target")) return push_bytes(L, head->target);
    if (!strcmp(name, "reason")) return push_bytes(L, head->reason);
    if (!strcmp(name, "version")) return lua_pushnumber(L, head->version / 10.0), 1;
    if (!strcmp(name, "keep_alive")) return lua_pushboolean(L, head->keep_alive), 1;
    if (!strcmp(name, "expects_continue")) return lua_pushboolean(L, head->expects_continue), 1;
    if (!strcmp(name, "wants_upgrade")) return lua_pushboolean(L, head->wants_upgrade), 1;
    if (!strcmp(name, "status") && head->status) return lua_pushinteger(L, head->status), 1;
    if (!strcmp(name, "path") && proto_http_path(head, &path, &query) == PROTO_OK) return push_bytes(L, path);
    if (!strcmp(name, "query") && proto_http_path(head, &path, &query) == PROTO_OK && query.data) return push_bytes(L, query);
    if (!strcmp(name, "fields")) {
        size_t count = proto_http_field_list(&head->fields, NULL, 0);
        proto_field *list = lua_newuserdatauv(L, (count + 1) * sizeof *list, 0);
        proto_http_field_list(&head->fields, list, count);
        lua_createtable(L, (int)count, 0);
        for (size_t at = 0; at < count; at++) {
            lua_createtable(L, 2, 0);
            push_bytes(L, list[at].name), lua_rawseti(L, -2, 1);
            push_bytes(L, list[at].value), lua_rawseti(L, -2, 2);
            lua_rawseti(L, -2, (lua_Integer)at + 1);
        }
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

static int parse(lua_State *L, int32_t (*call)(const uint8_t *, size_t, const proto_http_rules *, proto_http_head *, size_t *)) {
    static const char *const parts[] = {"method", "target", "path", "query", "version", "keep_alive", "expects_continue", "wants_upgrade", "status", "reason", "fields"};
    size_t length, used;
    proto_http_head head;
    const char *bytes = luaL_checklstring(L, 1, &length);
    int32_t got = call((const uint8_t *)bytes, length, NULL, &head, &used);
    if (got < 0) return failed(L, got);
    if (got == PROTO_MORE) return lua_pushnil(L), 1;
    lua_createtable(L, 0, 11);
    for (size_t at = 0; at < sizeof parts / sizeof *parts; at++) {
        int top = lua_gettop(L);
        push_part(L, &head, parts[at]);
        lua_setfield(L, top, parts[at]);
        lua_settop(L, top);
    }
    lua_pushinteger(L, (lua_Integer)used);
    return 2;
}

static int request(lua_State *L) { return parse(L, proto_http_request_parse); }
static int response(lua_State *L) { return parse(L, proto_http_response_parse); }
static int version(lua_State *L) { return lua_pushstring(L, proto_version_text()), 1; }

/* Frames: the bytes that wait are a userdata, kept as the first user value. */

typedef struct {
    proto_ws_decoder decoder;
    uint8_t *bytes;
    size_t capacity, from, to;
} frames;

static int frames_new(lua_State *L) {
    static const char *const roles[] = {"server", "client", NULL};
    int role = luaL_checkoption(L, 1, NULL, roles);
    frames *self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    proto_ws_decoder_init(&self->decoder, (uint32_t)role, NULL);
    luaL_setmetatable(L, FRAMES);
    return 1;
}

static int frames_feed(lua_State *L) {
    frames *self = luaL_checkudata(L, 1, FRAMES);
    size_t length, left = self->to - self->from;
    const char *bytes = luaL_checklstring(L, 2, &length);
    if (left + length > self->capacity) {
        size_t capacity = 2 * (left + length);
        uint8_t *memory = lua_newuserdatauv(L, capacity, 0);
        if (left) memcpy(memory, self->bytes + self->from, left);
        lua_setiuservalue(L, 1, 1); /* the collector keeps it */
        self->bytes = memory, self->capacity = capacity;
    } else if (left) {
        memmove(self->bytes, self->bytes + self->from, left);
    }
    if (length) memcpy(self->bytes + left, bytes, length);
    self->from = 0, self->to = left + length;
    return 0;
}

static int frames_next(lua_State *L) {
    static const char *const kinds[] = {"message", "part", "ping", "pong", "close"};
    frames *self = luaL_checkudata(L, 1, FRAMES);
    proto_ws_event event;
    size_t used = 0;
    int32_t got = proto_ws_decoder_next(&self->decoder, self->bytes + self->from, self->to - self->from, &used, &event);
    self->from += used;
    if (got < 0) return failed(L, got);
    if (got == PROTO_MORE) return lua_pushnil(L), 1;
    lua_pushstring(L, kinds[event.kind]);
    push_bytes(L, event.data);
    if (event.kind == PROTO_WS_CLOSE) return lua_pushinteger(L, event.code), 3;
    lua_pushboolean(L, event.text), lua_pushboolean(L, event.last);
    return 4;
}

static int frame(lua_State *L) {
    static const char *const kinds[] = {"continuation", "text", "binary", "close", "ping", "pong", NULL};
    static const uint8_t opcodes[] = {0, 1, 2, 8, 9, 10};
    size_t length, key_length;
    proto_ws_header header = {.opcode = opcodes[luaL_checkoption(L, 1, NULL, kinds)], .fin = true};
    const char *payload = luaL_checklstring(L, 2, &length), *key = luaL_optlstring(L, 3, NULL, &key_length);
    luaL_argcheck(L, !key || key_length == 4, 3, "a key has 4 bytes");
    if ((header.masked = key != NULL)) memcpy(header.key, key, 4);
    proto_buffer out = {lua_newuserdatauv(L, length + 14, 0), length + 14, 0};
    int32_t code = proto_ws_frame_write(&header, (const uint8_t *)payload, length, &out);
    if (code < 0) return failed(L, code);
    return push_bytes(L, (proto_bytes){out.data, out.length});
}

/* The server. */

typedef struct {
    proto_server *raw;
    proto_server_event event;
    int32_t port;
    bool shows; /* whether `event` is that of the last `next`, so that its bytes are still there */
} server;

static server *self_of(lua_State *L) {
    server *self = luaL_checkudata(L, 1, SERVER);
    if (!self->raw) luaL_error(L, "the server is closed");
    return self;
}

static int server_listen(lua_State *L) {
    size_t length;
    const char *address = luaL_checklstring(L, 1, &length);
    proto_server_config config;
    proto_server_config_default(&config);
    if (!lua_isnoneornil(L, 2)) {
        static const char *const names[] = {"body", "message", "idle", "answer"};
        uint64_t *const places[] = {&config.body, &config.message, &config.idle, &config.answer};
        luaL_checktype(L, 2, LUA_TTABLE);
        for (int at = 0; at < 4; at++)
            if (lua_getfield(L, 2, names[at]) != LUA_TNIL) *places[at] = (uint64_t)luaL_checkinteger(L, -1);
        if (lua_getfield(L, 2, "connections") != LUA_TNIL) config.connections = (size_t)luaL_checkinteger(L, -1);
        if (lua_getfield(L, 2, "output") != LUA_TNIL) config.output = (size_t)luaL_checkinteger(L, -1);
    }
    server *self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    luaL_setmetatable(L, SERVER);
    if (!(self->raw = proto_server_new(&config))) return failed(L, PROTO_IO);
    if ((self->port = proto_server_listen(self->raw, (const uint8_t *)address, length)) < 0) return failed(L, self->port);
    server **event = lua_newuserdatauv(L, sizeof *event, 1); /* shows what the last `next` has found */
    *event = self;
    luaL_setmetatable(L, EVENT);
    lua_pushvalue(L, -2), lua_setiuservalue(L, -2, 1);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

static int server_free(lua_State *L) {
    server *self = luaL_checkudata(L, 1, SERVER);
    proto_server_free(self->raw);
    self->raw = NULL, self->shows = false;
    return 0;
}

static int server_port(lua_State *L) { return lua_pushinteger(L, self_of(L)->port), 1; }
static int server_fd(lua_State *L) { return lua_pushinteger(L, proto_server_fd(self_of(L)->raw)), 1; }

static int server_poll(lua_State *L) {
    server *self = self_of(L);
    self->shows = false;
    if (proto_server_is_idle(self->raw)) return lua_pushnil(L), 1;
    int32_t count = proto_server_poll(self->raw, (int32_t)luaL_optinteger(L, 2, -1));
    if (count < 0) return failed(L, count);
    lua_pushinteger(L, count);
    return 1;
}

static int server_next(lua_State *L) {
    server *self = self_of(L);
    self->shows = proto_server_next(self->raw, &self->event) == PROTO_EVENT;
    if (!self->shows) return lua_pushnil(L), 1;
    lua_getiuservalue(L, 1, 1);
    return 1;
}

static int server_events(lua_State *L) {
    self_of(L);
    lua_pushcfunction(L, server_next);
    lua_pushvalue(L, 1);
    return 2;
}

static server *shown(lua_State *L) {
    server *self = *(server **)luaL_checkudata(L, 1, EVENT);
    if (!self->shows) luaL_error(L, "an event is over with the next one, and with the next poll");
    return self;
}

static int event_header(lua_State *L) {
    server *self = shown(L);
    size_t length;
    const char *name = luaL_checklstring(L, 2, &length);
    proto_bytes value;
    if (self->event.kind != PROTO_SERVER_REQUEST) return lua_pushnil(L), 1;
    if (!proto_http_field_find(&self->event.head.fields, (const uint8_t *)name, length, &value)) return lua_pushnil(L), 1;
    return push_bytes(L, value);
}

static int event_index(lua_State *L) {
    static const char *const kinds[] = {"request", "opened", "message", "closed"};
    server *self = shown(L);
    const proto_server_event *event = &self->event;
    const char *name = luaL_checkstring(L, 2);
    bool is_request = event->kind == PROTO_SERVER_REQUEST;
    if (!strcmp(name, "kind")) return lua_pushstring(L, kinds[event->kind]), 1;
    if (!strcmp(name, "id")) return lua_pushinteger(L, (lua_Integer)event->id), 1;
    if (!strcmp(name, "data") || !strcmp(name, "body")) return push_bytes(L, event->data);
    if (!strcmp(name, "reason") && !is_request) return push_bytes(L, event->data);
    if (!strcmp(name, "text")) return lua_pushboolean(L, event->text), 1;
    if (!strcmp(name, "code")) return lua_pushinteger(L, event->code), 1;
    if (!is_request) return lua_pushnil(L), 1;
    if (!strcmp(name, "header")) return lua_pushcfunction(L, event_header), 1;
    return push_part(L, &event->head, name);
}

/* The fields in the table at `at`, in memory that the stack keeps: names to values, or pairs. */
static const proto_field *fields_at(lua_State *L, int at, size_t *count) {
    *count = 0;
    if (lua_isnoneornil(L, at)) return NULL;
    luaL_checktype(L, at, LUA_TTABLE);
    size_t room = 0;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) room++;
    proto_field *list = lua_newuserdatauv(L, (room + 1) * sizeof *list, 0);
    for (lua_pushnil(L); lua_next(L, at) && *count < room; lua_pop(L, 1)) {
        size_t name_length, value_length;
        const char *name, *value;
        if (lua_type(L, -1) == LUA_TTABLE) { /* the strings stay in the table */
            lua_rawgeti(L, -1, 1), lua_rawgeti(L, -2, 2);
            name = luaL_checklstring(L, -2, &name_length), value = luaL_checklstring(L, -1, &value_length);
            lua_pop(L, 2);
        } else {
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING) luaL_argerror(L, at, "names and values are strings");
            name = lua_tolstring(L, -2, &name_length), value = lua_tolstring(L, -1, &value_length);
        }
        list[(*count)++] = (proto_field){{(const uint8_t *)name, name_length}, {(const uint8_t *)value, value_length}};
    }
    return list;
}

static int server_respond(lua_State *L) {
    server *self = self_of(L);
    size_t count, length = 0;
    const char *body = luaL_optlstring(L, 5, "", &length);
    const proto_field *list = fields_at(L, 4, &count);
    return done(L, proto_server_respond(self->raw, (uint64_t)luaL_checkinteger(L, 2), (uint16_t)luaL_checkinteger(L, 3), list, count, (const uint8_t *)body, length));
}

static int server_start(lua_State *L) {
    server *self = self_of(L);
    size_t count;
    uint64_t length = lua_isnoneornil(L, 5) ? UINT64_MAX : (uint64_t)luaL_checkinteger(L, 5);
    const proto_field *list = fields_at(L, 4, &count);
    return done(L, proto_server_start(self->raw, (uint64_t)luaL_checkinteger(L, 2), (uint16_t)luaL_checkinteger(L, 3), list, count, length));
}

static int server_write(lua_State *L) {
    size_t length;
    server *self = self_of(L);
    const char *data = luaL_checklstring(L, 3, &length);
    return done(L, proto_server_write(self->raw, (uint64_t)luaL_checkinteger(L, 2), (const uint8_t *)data, length));
}

static int server_finish(lua_State *L) {
    server *self = self_of(L);
    return done(L, proto_server_finish(self->raw, (uint64_t)luaL_checkinteger(L, 2)));
}

/* The texts in the field `name` of the table at `at`. */
static const proto_bytes *texts(lua_State *L, int at, const char *name, size_t *count) {
    *count = 0;
    if (lua_getfield(L, at, name) == LUA_TNIL) return NULL;
    int table = lua_gettop(L);
    luaL_checktype(L, table, LUA_TTABLE);
    size_t room = (size_t)luaL_len(L, table);
    proto_bytes *list = lua_newuserdatauv(L, (room + 1) * sizeof *list, 0);
    for (; *count < room; lua_pop(L, 1)) {
        lua_rawgeti(L, table, (lua_Integer)*count + 1);
        if (lua_type(L, -1) != LUA_TSTRING) luaL_argerror(L, at, "a list of strings is expected");
        proto_bytes *one = &list[(*count)++];
        one->data = (const uint8_t *)lua_tolstring(L, -1, &one->length);
    }
    return list;
}

static int server_upgrade(lua_State *L) {
    server *self = self_of(L);
    proto_ws_upgrade_options options = {0};
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        lua_getfield(L, 3, "any_origin");
        options.any_origin = lua_toboolean(L, -1);
        options.origins = texts(L, 3, "origins", &options.origin_count);
        options.protocols = texts(L, 3, "protocols", &options.protocol_count);
    }
    return done(L, proto_server_upgrade(self->raw, (uint64_t)luaL_checkinteger(L, 2), &options));
}

static int server_send(lua_State *L) {
    size_t length;
    server *self = self_of(L);
    const char *data = luaL_checklstring(L, 3, &length);
    return done(L, proto_server_send(self->raw, (uint64_t)luaL_checkinteger(L, 2), lua_toboolean(L, 4), (const uint8_t *)data, length));
}

static int server_close(lua_State *L) {
    size_t length;
    server *self = self_of(L);
    const char *reason = luaL_optlstring(L, 4, "", &length);
    return done(L, proto_server_close(self->raw, (uint64_t)luaL_checkinteger(L, 2), (uint16_t)luaL_optinteger(L, 3, 1000), (const uint8_t *)reason, length));
}

static int server_remote(lua_State *L) {
    server *self = self_of(L);
    uint8_t memory[64];
    proto_buffer out = {memory, sizeof memory, 0};
    int32_t code = proto_server_remote(self->raw, (uint64_t)luaL_checkinteger(L, 2), &out);
    if (code < 0) return failed(L, code);
    return push_bytes(L, (proto_bytes){memory, out.length});
}

static int server_stop(lua_State *L) {
    proto_server_stop(self_of(L)->raw, (uint64_t)luaL_optinteger(L, 2, 0));
    return 0;
}

static void kind(lua_State *L, const char *name, const luaL_Reg *methods) {
    luaL_newmetatable(L, name);
    luaL_setfuncs(L, methods, 0);
    if (lua_getfield(L, -1, "__index") == LUA_TNIL) lua_pushvalue(L, -2), lua_setfield(L, -3, "__index");
    lua_settop(L, 0);
}

int luaopen_proto_core(lua_State *L) {
    static const luaL_Reg of_server[] = {
        {"port", server_port},       {"fd", server_fd},         {"poll", server_poll},     {"next", server_next},     {"events", server_events},
        {"respond", server_respond}, {"start", server_start},   {"write", server_write},   {"finish", server_finish}, {"upgrade", server_upgrade},
        {"send", server_send},       {"close", server_close},   {"remote", server_remote}, {"stop", server_stop},     {"__gc", server_free},
        {"__close", server_free},    {NULL, NULL},
    };
    static const luaL_Reg of_event[] = {{"__index", event_index}, {NULL, NULL}};
    static const luaL_Reg of_frames[] = {{"feed", frames_feed}, {"next", frames_next}, {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"request", request}, {"response", response}, {"frames", frames_new}, {"frame", frame}, {"listen", server_listen}, {"version", version}, {NULL, NULL},
    };
    kind(L, SERVER, of_server), kind(L, EVENT, of_event), kind(L, FRAMES, of_frames);
    luaL_newlib(L, functions);
    return 1;
}
