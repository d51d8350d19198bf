-- A tiny web server with a WebSocket echo. Usage: lua web.lua [ADDRESS]
local proto = require "proto"

local server = assert(proto.listen(arg[1] or "127.0.0.1:8080"))
print("listening on 127.0.0.1:" .. server:port())
io.stdout:flush()
while server:poll() do
    for event in server:events() do
        if event.kind == "message" then
            server:send(event.id, event.data, event.text)
        elseif event.wants_upgrade then
            server:upgrade(event.id)
        elseif event.kind == "request" then
            server:respond(event.id, 200, {["Content-Type"] = "text/plain"}, "hello, world !\n")
        end
    end
end
