-- Reads a request and shows it.
local proto = require "proto"

local request, used = proto.request("GET /search?q=lua HTTP/1.1\r\nHost: example.org\r\nAccept: text/html\r\n\r\n")
print(request.method, request.path, request.query, used)
for _, field in ipairs(request.fields) do
    print(field[1], field[2])
end
print(proto.request("GET / HTTP/1.1\nHost: x\n\n")) -- nil, the name of what is wrong, and its section
