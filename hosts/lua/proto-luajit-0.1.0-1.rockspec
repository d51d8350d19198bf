rockspec_format = "3.0"
package = "proto-luajit"
version = "0.1.0-1"
source = {url = "git+file://."}
description = {
    summary = "HTTP and WebSocket as state machines, and a server whose events a program pulls",
    detailed = "A module over libproto by LuaJIT's ffi; hosts/c builds and installs the library. For Lua 5.4, see proto.",
    license = "MIT OR Apache-2.0",
}
dependencies = {"lua == 5.1"}
external_dependencies = {PROTO = {library = "proto"}}
build = {
    type = "builtin",
    modules = {
        ["proto"] = "proto/init.lua",
        ["proto.ffi"] = "proto/ffi.lua",
        ["proto.cdef"] = "proto/cdef.lua",
    },
}
