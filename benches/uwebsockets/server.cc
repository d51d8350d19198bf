// What compare measures of uWebSockets: the greeting and the echo, on one thread, as its examples have them.
//
// usage: uwebsockets --listen ADDRESS:PORT

#include "App.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

struct Nothing {};

int main(int count, char **arguments) {
    std::string listen = count == 3 && std::string_view(arguments[1]) == "--listen" ? arguments[2] : "";
    auto colon = listen.rfind(':');
    if (colon == std::string::npos) {
        std::fprintf(stderr, "usage: uwebsockets --listen ADDRESS:PORT\n");
        return 2;
    }
    uWS::App()
        .get("/", [](auto *response, auto *) {
            response->writeHeader("Content-Type", "text/plain")->end("Hello, World!");
        })
        .ws<Nothing>("/ws", {
            .compression = uWS::DISABLED,
            .maxPayloadLength = 16 * 1024 * 1024,
            .idleTimeout = 120,
            .maxBackpressure = 16 * 1024 * 1024,
            .message = [](auto *socket, std::string_view message, uWS::OpCode code) { socket->send(message, code); },
        })
        .listen(listen.substr(0, colon), std::atoi(listen.c_str() + colon + 1), [&](auto *socket) {
            if (!socket) {
                std::fprintf(stderr, "uwebsockets: cannot listen on %s\n", listen.c_str());
                std::exit(2);
            }
            std::printf("listening on %s\n", listen.c_str());
            std::fflush(stdout);
        })
        .run();
}
