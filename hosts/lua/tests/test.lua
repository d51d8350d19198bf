-- The module, by LuaJIT and by Lua 5.4: both must pass all of it.
local proto = require "proto"

local checks = 0
local function same(got, wanted, what)
    checks = checks + 1
    if got ~= wanted then
        error(("%s: %s, not %s"):format(what or "value", tostring(got), tostring(wanted)), 2)
    end
end

-- Heads.
local text = "POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nx-y: z\r\n\r\nhello"
local request, used = proto.request(text)
same(request.method, "POST")
same(request.target, "/a/b?c=d")
same(request.path, "/a/b")
same(request.query, "c=d")
same(request.version, 1.1)
same(request.keep_alive, true)
same(request.status, nil)
same(#request.fields, 3)
same(request.fields[3][1] .. request.fields[3][2], "x-yz")
same(text:sub(used + 1), "hello")
for cut = 0, used - 1 do
    same(select("#", proto.request(text:sub(1, cut))), 1)
    same((proto.request(text:sub(1, cut))), nil)
end
local none, name, section = proto.request("GET / HTTP/1.1\nHost: x\n\n")
same(none, nil)
same(name, "PROTO_HTTP_BARE_LF")
same(section, "RFC 9112 section 2.2")
same(proto.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").query, nil)
local response = proto.response("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
same(response.status, 404)
same(response.reason, "Not Found")
same(proto.version(), "0.1.0")

-- Frames, byte by byte.
local stream = proto.frame("text", "Hello", "\55\250\33\61") .. proto.frame("ping", "?", "\1\2\3\4") .. proto.frame("close", "\3\232bye", "\1\2\3\4")
same(stream:sub(1, 11), "\129\133\55\250\33\61\127\159\77\81\88")
local decoder, seen = proto.frames("server"), {}
for at = 1, #stream do
    decoder:feed(stream:sub(at, at))
    while true do
        local kind, payload, more = decoder:next()
        if not kind then break end
        seen[#seen + 1] = kind .. ":" .. payload .. ":" .. tostring(more)
    end
end
same(table.concat(seen, " "), "part:H:true part:e:true part:l:true part:l:true part:o:true ping:?:false close:bye:1000")
decoder = proto.frames("client")
decoder:feed(stream)
none, name, section = decoder:next()
same(name, "PROTO_WS_MASKED")
same(section, "RFC 6455 section 5.1")
same(pcall(proto.frames, "both"), false)
same(pcall(proto.frame, "text", "a", "short"), false)
local large = ("x"):rep(100000)
decoder = proto.frames("client")
decoder:feed(proto.frame("binary", large))
same(select(2, decoder:next()), large)

-- The server: the other end is `hosts_lua.py`, which also checks what it gets.
none, name = proto.listen("nowhere")
same(name, "PROTO_ADDRESS")
local server = proto.listen("127.0.0.1:0", {body = 1000, idle = 5000})
none, name = proto.listen("127.0.0.1:" .. server:port())
same(name, "PROTO_IO")
same(server:fd() > 2, true)
print("listening on 127.0.0.1:" .. server:port())
io.stdout:flush()

local last, stopped
local count = {}
while server:poll(5000) do
    for event in server:events() do
        last = event
        count[event.kind] = (count[event.kind] or 0) + 1
        if event.kind == "opened" then
            same(server:send(event.id, "welcome", true), true)
        elseif event.kind == "message" then
            if event.text then server:send(event.id, event.data, true) else server:close(event.id, 4000, "no bytes") end
        elseif event.kind == "closed" then
            same(event.header, nil)
            same(event.method, nil)
            if event.code > 0 then same(event.code, 4000) end
        elseif event.path == "/ws" then
            same(server:upgrade(event.id, {protocols = {"soap", "chat"}}), true)
        elseif event.path == "/foreign" then
            same(select(2, server:upgrade(event.id)), "PROTO_WS_REJECT_ORIGIN")
        elseif event.path == "/stream" then
            same(server:start(event.id, 200, {{"A", "1"}, {"A", "2"}}), true)
            for at = 1, 3 do server:write(event.id, "piece " .. at .. "\n") end
            same(server:finish(event.id), true)
            same(select(2, server:finish(event.id)), "PROTO_HTTP_MISUSE_OUT_OF_TURN")
        elseif event.path == "/stop" then
            server:respond(event.id, 204)
            server:stop(1000)
            stopped = true
        else
            same(event:header("HOST"), "x")
            same(event:header("absent"), nil)
            same(server:remote(event.id):match("^127%.0%.0%.1:%d+$") ~= nil, true)
            same(select(2, server:respond(event.id, 200, {["Content-Length"] = "1"}, "")), "PROTO_HTTP_MISUSE_FRAMING_FIELD")
            same(select(2, server:respond(event.id, 200, {["X"] = "a\r\nb: c"}, "")), "PROTO_HTTP_MISUSE_FIELD_VALUE")
            same(select(2, server:respond(event.id, 99)), "PROTO_HTTP_MISUSE_STATUS")
            same(server:respond(event.id, 200, {["Content-Type"] = "text/plain"}, event.method .. " " .. event.path .. " " .. event.body), true)
            same(select(2, server:respond(event.id, 200)), "PROTO_HTTP_MISUSE_OUT_OF_TURN")
        end
    end
    if stopped and count.late then break end
end
same(select(2, server:respond(999999, 200)), "PROTO_GONE")
same(pcall(function() return last.kind end), false) -- an event is over with the next poll
same(count.opened, 1)
same(count.message, 2)
same(count.closed, 1)
print(checks .. " checks")
