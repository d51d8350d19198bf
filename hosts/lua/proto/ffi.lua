-- The module for LuaJIT: libproto.so by ffi.
local ffi = require "ffi"
ffi.cdef(require "proto.cdef")
local C = ffi.load(os.getenv("LIBPROTO") or "proto")

local proto = {}

local MORE, EVENT = 0, 1
local KINDS = {[0] = "request", "opened", "message", "closed"}
local FRAMES = {[0] = "message", "part", "ping", "pong", "close"}
local OPCODES = {continuation = 0, text = 1, binary = 2, close = 8, ping = 9, pong = 10}

local function failed(code)
    return nil, ffi.string(C.proto_error_name(code)), ffi.string(C.proto_error_section(code))
end

local function done(code)
    if code < 0 then return failed(code) end
    return true
end

local function text(bytes)
    return ffi.string(bytes.data, bytes.length)
end

-- The parts of a head that are asked for rarely.
local PARTS = {
    method = function(head) return text(head.method) end,
    target = function(head) return text(head.target) end,
    version = function(head) return head.version / 10 end,
    keep_alive = function(head) return head.keep_alive end,
    expects_continue = function(head) return head.expects_continue end,
    wants_upgrade = function(head) return head.wants_upgrade end,
    status = function(head) return head.status end,
    reason = function(head) return text(head.reason) end,
}

local path, query = ffi.new "proto_bytes[1]", ffi.new "proto_bytes[1]"

function PARTS.path(head)
    return C.proto_http_path(head, path, nil) == 0 and text(path[0]) or nil
end

function PARTS.query(head)
    if C.proto_http_path(head, nil, query) == 0 and query[0].data ~= nil then return text(query[0]) end
end

function PARTS.fields(head)
    local count = tonumber(C.proto_http_field_list(head.fields, nil, 0))
    local list, fields = ffi.new("proto_field[?]", count), {}
    C.proto_http_field_list(head.fields, list, count)
    for at = 0, count - 1 do fields[at + 1] = {text(list[at].name), text(list[at].value)} end
    return fields
end

local value = ffi.new "proto_bytes[1]"

local function header(head, name)
    if C.proto_http_field_find(head.fields, name, #name, value) then return text(value[0]) end
end

local function head_table(head)
    local made = {}
    for name, part in pairs(PARTS) do made[name] = part(head) end
    made.status = head.status > 0 and head.status or nil
    return made
end

local head, used = ffi.new "proto_http_head", ffi.new "size_t[1]"

local function parse(call, bytes)
    local got = call(bytes, #bytes, nil, head, used)
    if got == MORE then return nil end
    if got < 0 then return failed(got) end
    return head_table(head), tonumber(used[0])
end

function proto.request(bytes) return parse(C.proto_http_request_parse, bytes) end

function proto.response(bytes) return parse(C.proto_http_response_parse, bytes) end

function proto.version() return ffi.string(C.proto_version_text()) end

-- Frames.

local Frames = {}
Frames.__index = Frames
local frame = ffi.new "proto_ws_event"

function proto.frames(role)
    local decoder = ffi.new "proto_ws_decoder"
    if role ~= "server" and role ~= "client" then error("a role is server or client", 2) end
    C.proto_ws_decoder_init(decoder, role == "client" and 1 or 0, nil)
    return setmetatable({decoder = decoder, bytes = ffi.new("uint8_t[?]", 256), capacity = 256, from = 0, to = 0}, Frames)
end

function Frames:feed(bytes)
    local left = self.to - self.from
    local target = self.bytes
    if left + #bytes > self.capacity then
        self.capacity = 2 * (left + #bytes)
        target = ffi.new("uint8_t[?]", self.capacity)
    end
    if left > 0 then
        local moved = ffi.string(self.bytes + self.from, left)
        ffi.copy(target, moved, left)
    end
    ffi.copy(target + left, bytes, #bytes)
    self.bytes, self.from, self.to = target, 0, left + #bytes
end

function Frames:next()
    local got = C.proto_ws_decoder_next(self.decoder, self.bytes + self.from, self.to - self.from, used, frame)
    self.from = self.from + tonumber(used[0])
    if got == MORE then return nil end
    if got < 0 then return failed(got) end
    local kind = FRAMES[tonumber(frame.kind)]
    local payload = text(frame.data)
    if kind == "close" then return kind, payload, frame.code end
    return kind, payload, frame.text, frame.last
end

function proto.frame(kind, payload, key)
    local opcode = OPCODES[kind] or error("a kind is text, binary, continuation, close, ping or pong", 2)
    if key and #key ~= 4 then error("a key has 4 bytes", 2) end
    local written = ffi.new("proto_ws_header", {opcode = opcode, fin = true, masked = key ~= nil})
    if key then ffi.copy(written.key, key, 4) end
    local memory = ffi.new("uint8_t[?]", #payload + 14)
    local out = ffi.new("proto_buffer", memory, #payload + 14, 0)
    local code = C.proto_ws_frame_write(written, payload, #payload, out)
    if code < 0 then return failed(code) end
    return ffi.string(memory, out.length)
end

-- The server.

local Server = {}
Server.__index = Server

-- An event shows what the last `next` has found, so one for each server is enough.
local Event = {
    __index = function(self, name)
        local shown = rawget(self, 1) or error("an event is over with the next one, and with the next poll", 2)
        if name == "kind" then return KINDS[tonumber(shown.kind)] end
        if name == "id" then return tonumber(shown.id) end
        if name == "data" or name == "body" or name == "reason" and shown.kind ~= 0 then return text(shown.data) end
        if name == "text" then return shown.text end
        if name == "code" then return shown.code end
        if name == "header" then
            return shown.kind == 0 and function(_, field) return header(shown.head, field) end or nil
        end
        local part = shown.kind == 0 and PARTS[name]
        if part then return part(shown.head) end
    end,
}

local function list_of(fields)
    if not fields then return nil, 0 end
    local count = 0
    for _ in pairs(fields) do count = count + 1 end
    local list = ffi.new("proto_field[?]", count)
    count = 0
    for name, given in pairs(fields) do
        if type(name) == "number" then name, given = given[1], given[2] end
        local field = list[count]
        field.name.data, field.name.length = ffi.cast("const uint8_t *", name), #name
        field.value.data, field.value.length = ffi.cast("const uint8_t *", given), #given
        count = count + 1
    end
    return list, count
end

function proto.listen(address, options)
    local config = ffi.new "proto_server_config"
    C.proto_server_config_default(config)
    for name, given in pairs(options or {}) do config[name] = given end
    local raw = C.proto_server_new(config)
    if raw == nil then return nil, "PROTO_IO", "" end
    raw = ffi.gc(raw, C.proto_server_free)
    local port = C.proto_server_listen(raw, address, #address)
    if port < 0 then return failed(port) end
    local shown = ffi.new "proto_server_event"
    return setmetatable({raw = raw, listens = port, shown = shown, event = setmetatable({}, Event)}, Server)
end

function Server:port() return self.listens end

function Server:fd() return C.proto_server_fd(self.raw) end

function Server:poll(timeout)
    self.event[1] = nil
    if C.proto_server_is_idle(self.raw) then return nil end
    local count = C.proto_server_poll(self.raw, timeout or -1)
    if count < 0 then return failed(count) end
    return count
end

function Server:next()
    local event = self.event
    if C.proto_server_next(self.raw, self.shown) == EVENT then
        event[1] = self.shown
        return event
    end
    event[1] = nil
end

function Server:events() return Server.next, self end

function Server:respond(id, status, fields, body)
    local list, count = list_of(fields)
    body = body or ""
    return done(C.proto_server_respond(self.raw, id, status, list, count, body, #body))
end

function Server:start(id, status, fields, length)
    local list, count = list_of(fields)
    return done(C.proto_server_start(self.raw, id, status, list, count, length or 0xffffffffffffffffULL))
end

function Server:write(id, data) return done(C.proto_server_write(self.raw, id, data, #data)) end

function Server:finish(id) return done(C.proto_server_finish(self.raw, id)) end

function Server:upgrade(id, options)
    options = options or {}
    local function texts(list)
        local made = ffi.new("proto_bytes[?]", math.max(#list, 1))
        for at, one in ipairs(list) do made[at - 1].data, made[at - 1].length = ffi.cast("const uint8_t *", one), #one end
        return made
    end
    local origins, protocols = options.origins or {}, options.protocols or {}
    local first, second = texts(origins), texts(protocols)
    local given = ffi.new("proto_ws_upgrade_options", options.any_origin or false, first, #origins, second, #protocols)
    return done(C.proto_server_upgrade(self.raw, id, given))
end

function Server:send(id, data, is_text) return done(C.proto_server_send(self.raw, id, is_text or false, data, #data)) end

function Server:close(id, code, reason)
    reason = reason or ""
    return done(C.proto_server_close(self.raw, id, code or 1000, reason, #reason))
end

function Server:remote(id)
    local memory = ffi.new "uint8_t[64]"
    local out = ffi.new("proto_buffer", memory, 64, 0)
    local code = C.proto_server_remote(self.raw, id, out)
    if code < 0 then return failed(code) end
    return ffi.string(memory, out.length)
end

function Server:stop(drain) C.proto_server_stop(self.raw, drain or 0) end

return proto
