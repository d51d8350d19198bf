-- libproto for Lua: `proto.ffi` under LuaJIT, the C module `proto.core` under Lua 5.4. Both have the same functions: README.md.
return require(jit and "proto.ffi" or "proto.core")
