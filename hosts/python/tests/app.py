"""An ASGI application for test_uvicorn.py, and the same server by Starlette."""

from __future__ import annotations

import asyncio

# What the last application saw, for the tests.
SEEN: dict = {}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    if scope["type"] == "websocket":
        return await websocket(scope, receive, send)
    await http(scope, receive, send)


async def lifespan(receive, send):
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def body_of(receive):
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            SEEN["disconnected"] = True
            return None
        body, more = body + message["body"], message["more_body"]
    return body


async def respond(send, body, status=200, headers=()):
    fields = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def http(scope, receive, send):
    path = scope["path"]
    SEEN["scope"] = scope
    if path == "/echo":
        body = await body_of(receive)
        await respond(send, b"%s %s %s" % (scope["method"].encode(), scope["query_string"], body or b""))
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                SEEN["disconnected"] = True
                return
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})
    elif path == "/wait":
        await receive()
        SEEN["left"] = (await receive())["type"]
    elif path == "/slow":
        await asyncio.sleep(0.5)
        await respond(send, b"slow")
    elif path == "/hold":
        SEEN["release"] = asyncio.Event()
        await SEEN["release"].wait()
    elif path == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        SEEN["sent"] = 0
        while SEEN["sent"] < 200_000_000:
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            SEEN["sent"] += 100_000
            await asyncio.sleep(0)
    elif path == "/fail":
        raise ValueError("on purpose")
    elif path == "/fail-late":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("on purpose")
    elif path == "/inject":
        await respond(send, b"", headers=[(b"x", b"a\r\nset-cookie: b")])
    elif path == "/short":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"five!"})
    elif path == "/silent":
        return
    else:
        await respond(send, b"hello", headers=[(b"x-path", path.encode())])


async def websocket(scope, receive, send):
    SEEN["scope"] = scope
    path = scope["path"]
    assert (await receive())["type"] == "websocket.connect"
    if path == "/refuse":
        return await send({"type": "websocket.close"})
    if path == "/reject":
        headers = [(b"content-length", b"4")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        return await send({"type": "websocket.http.response.body", "body": b"who?"})
    if path == "/fail":
        raise ValueError("on purpose")
    protocols = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": protocols[0] if protocols else None, "headers": [(b"x", b"y")]})
    if path == "/fail-late":
        raise ValueError("on purpose")
    if path == "/close":
        return await send({"type": "websocket.close", "code": 4001, "reason": "because"})
    if path == "/idle":
        SEEN["release"] = asyncio.Event()
        await SEEN["release"].wait()
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            SEEN["closed"] = (message["code"], message.get("reason"))
            return
        await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})


def starlette():
    """A small application on Starlette."""
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    async def json(request):
        return JSONResponse({"got": await request.json(), "query": dict(request.query_params)})

    async def form(request):
        async def lines():
            for number in range(5):
                yield f"line {number}\n"

        return StreamingResponse(lines())

    async def chat(websocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_json({"said": text})

    routes = [
        Route("/", lambda request: PlainTextResponse("starlette")),
        Route("/json", json, methods=["POST"]),
        Route("/lines", form),
        WebSocketRoute("/chat", chat),
    ]
    return Starlette(routes=routes)
