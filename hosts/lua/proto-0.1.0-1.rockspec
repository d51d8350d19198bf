rockspec_format = "3.0"
package = "proto"
version = "0.1.0-1"
source = {url = "git+file://."}
description = {
    summary = "HTTP and WebSocket as state machines, and a server whose events a program pulls",
    detailed = "A C module over libproto, which hosts/c builds and installs. For LuaJIT, see proto-luajit.",
    license = "MIT OR Apache-2.0",
}
dependencies = {"lua >= 5.4"}
external_dependencies = {PROTO = {header = "proto.h", library = "proto"}}
build = {
    type = "builtin",
    modules = {
        ["proto"] = "proto/init.lua",
        ["proto.core"] = {
            sources = {"proto/core.c"},
            libraries = {"proto"},
            incdirs = {"$(PROTO_INCDIR)"},
            libdirs = {"$(PROTO_LIBDIR)"},
        },
    },
}
