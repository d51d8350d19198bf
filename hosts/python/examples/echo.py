"""HTTP and a WebSocket echo on one port, over asyncio. usage: echo.py [PORT]"""

import asyncio
import sys

from wirestate import http, ws


async def serve(reader, writer):
    conn = http.Connection(http.SERVER)
    try:
        while True:
            event = conn.next_event()
            if event is http.NEED_DATA:
                conn.receive_data(await reader.read(65536))
            elif isinstance(event, http.Request):
                request, body = event, b""
            elif isinstance(event, http.Data):
                body += event.data
            elif isinstance(event, http.EndOfMessage):
                if conn.their_state is http.MIGHT_SWITCH_PROTOCOL:
                    return await echo(reader, writer, request, conn.trailing_data[0])
                body = body or b"hello\n"
                await respond(conn, writer, 200, body)
                if conn.our_state is http.MUST_CLOSE:
                    return
                conn.start_next_cycle()
            else:
                return
    except http.RemoteProtocolError as error:
        if conn.our_state in (http.IDLE, http.SEND_RESPONSE):
            await respond(conn, writer, error.error_status_hint, f"{error}\n".encode())
    finally:
        writer.close()


async def respond(conn, writer, status, body):
    writer.write(conn.send(http.Response(status_code=status, headers=[("Content-Length", str(len(body)))])))
    writer.write(conn.send(http.Data(body)) + conn.send(http.EndOfMessage()))
    await writer.drain()


async def echo(reader, writer, request, trailing):
    conn = ws.WSConnection(ws.SERVER)
    try:
        conn.initiate_upgrade_connection(request.headers, request.target)
        conn.receive_data(trailing) if trailing else None
    except ws.RemoteProtocolError as error:
        return writer.write(conn.send(error.event_hint))
    while conn.state is not ws.ConnectionState.CLOSED:
        for event in conn.events():
            if isinstance(event, ws.Request):
                writer.write(conn.send(ws.AcceptConnection(extensions=[ws.PerMessageDeflate()])))
            elif isinstance(event, ws.Message):
                writer.write(conn.send(event))
            elif isinstance(event, ws.Ping) or conn.state is ws.ConnectionState.REMOTE_CLOSING:
                writer.write(conn.send(event.response()))
        await writer.drain()
        if conn.state is ws.ConnectionState.OPEN:
            conn.receive_data(await reader.read(65536) or None)


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8080)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


asyncio.run(main())
