//! Heads of requests and responses as real programs send them.

/// Heads of requests, with descriptions.
pub fn requests() -> [(&'static str, Vec<u8>); 4] {
    [
        ("bare", BARE.to_vec()),
        ("curl", CURL.to_vec()),
        ("browser", BROWSER.to_vec()),
        ("API call", API.to_vec()),
    ]
}

/// Heads of responses, with descriptions.
pub fn responses() -> [(&'static str, Vec<u8>); 3] {
    [
        ("small", SMALL.to_vec()),
        ("nginx", NGINX.to_vec()),
        ("CDN", CDN.to_vec()),
    ]
}

/// Only the required parts.
pub const BARE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A tool's request.
pub const CURL: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n";

/// A browser's request with cookies: about 1 KB in 16 fields.
pub const BROWSER: &[u8] = b"GET /articles/2026/11/a-title-in-words?page=2&utm_source=newsletter HTTP/1.1\r\n\
Host: www.example.org\r\n\
Connection: keep-alive\r\n\
Cache-Control: max-age=0\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"\r\n\
sec-ch-ua-mobile: ?0\r\n\
sec-ch-ua-platform: \"Linux\"\r\n\
Upgrade-Insecure-Requests: 1\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
Sec-Fetch-Site: same-origin\r\n\
Sec-Fetch-Mode: navigate\r\n\
Sec-Fetch-Dest: document\r\n\
Referer: https://www.example.org/articles/2026/11/\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n\
Cookie: session=8f14e45fceea167a5a36dedd4bea2543c9f0f895fb98ab9159f51fd0297e236d; theme=dark; consent=yes; \
_id=GA1.2.1190874323.1763829411; ab=variant-b; last_seen=1763829411\r\n\r\n";

/// A request between services, behind two proxies: many fields, most of them short.
pub const API: &[u8] = b"POST /v2/accounts/4711/orders HTTP/1.1\r\n\
Host: api.internal.example\r\n\
User-Agent: orders/3.14.0\r\n\
Accept: application/json\r\n\
Accept-Encoding: gzip\r\n\
Authorization: Bearer eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiI0NzExIiwiZXhwIjoxNzYzODI5NDExfQ.c2lnbmF0dXJl\r\n\
Content-Type: application/json\r\n\
Content-Length: 2048\r\n\
Idempotency-Key: 7c0c0a1e-52e5-4f1a-9a3b-6a4d5bb1c1f0\r\n\
If-Match: \"33a64df551425fcc55e4d42a148795d9f25f89d4\"\r\n\
X-Request-Id: 0b7c2d6e-8f4d-4f0f-a6e5-7d1d2a0f9f51\r\n\
X-Correlation-Id: 5f2b8c1d\r\n\
X-Forwarded-For: 203.0.113.7, 198.51.100.17\r\n\
X-Forwarded-Proto: https\r\n\
X-Forwarded-Host: api.example.org\r\n\
X-Real-Ip: 203.0.113.7\r\n\
Via: 1.1 edge, 1.1 mesh\r\n\
traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
tracestate: vendor=t61rcWkgMzE\r\n\
X-Tenant: blue\r\n\
X-Client-Version: 12\r\n\
X-Retry: 0\r\n\
X-Deadline-Ms: 1500\r\n\
Connection: keep-alive\r\n\r\n";

/// A small server's response.
pub const SMALL: &[u8] =
    b"HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 16:36:51 GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n";

/// A file from nginx.
pub const NGINX: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: nginx/1.28.0\r\n\
Date: Sun, 22 Nov 2026 16:36:51 GMT\r\n\
Content-Type: text/html\r\n\
Content-Length: 615\r\n\
Last-Modified: Wed, 23 Apr 2025 11:48:54 GMT\r\n\
Connection: keep-alive\r\n\
ETag: \"6808d3a6-267\"\r\n\
Accept-Ranges: bytes\r\n\r\n";

/// A page from a content delivery network: 21 fields, including policies.
pub const CDN: &[u8] = b"HTTP/1.1 200 OK\r\n\
Date: Sun, 22 Nov 2026 16:36:51 GMT\r\n\
Content-Type: text/html; charset=utf-8\r\n\
Transfer-Encoding: chunked\r\n\
Connection: keep-alive\r\n\
Vary: Accept-Encoding, Origin\r\n\
Cache-Control: public, max-age=60, s-maxage=600, stale-while-revalidate=86400\r\n\
ETag: W/\"5d8c72a5edda8d6a5e1f\"\r\n\
Age: 317\r\n\
Via: 1.1 varnish, 1.1 varnish\r\n\
X-Served-By: cache-iad-kiad7000112-IAD, cache-fra-etou8220087-FRA\r\n\
X-Cache: HIT, HIT\r\n\
X-Cache-Hits: 3, 1\r\n\
X-Timer: S1763829411.428193,VS0,VE1\r\n\
Strict-Transport-Security: max-age=31536000; includeSubDomains; preload\r\n\
Content-Security-Policy: default-src 'self'; script-src 'self' https://static.example.org 'nonce-rAnd0m'; \
img-src 'self' data: https://images.example.org; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'\r\n\
X-Content-Type-Options: nosniff\r\n\
X-Frame-Options: DENY\r\n\
Referrer-Policy: strict-origin-when-cross-origin\r\n\
Permissions-Policy: camera=(), microphone=(), geolocation=()\r\n\
Set-Cookie: __cf_bm=zVnZm8hPq; path=/; expires=Sun, 22-Nov-26 17:06:51 GMT; domain=.example.org; HttpOnly; Secure\r\n\
Server: edge\r\n\r\n";
