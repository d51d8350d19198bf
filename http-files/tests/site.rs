//! Whole answers, in memory: statuses, fields and content, by the sections of RFC 9110.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use common::{Answer, Site, date};
use http_files::Config;

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|at| b"0123456789abcdef"[at * 7 % 16]).collect()
}

#[test]
fn files_and_folders() {
    let site = Site::new(|config| config);
    site.file("index.html", b"<p>home");
    site.file("a b/style.css", b"p{}");
    site.file("sub/index.html", b"<p>sub");
    site.file("plain", b"?");
    site.file("empty.txt", b"");
    fs::create_dir(site.root().join("bare")).unwrap();
    // Path, status, a field, content.
    type Case<'a> = (&'a str, u16, (&'a str, Option<&'a str>), &'a [u8]);
    let cases: &[Case<'_>] = &[
        ("/", 200, ("content-type", Some("text/html; charset=utf-8")), b"<p>home"),
        ("/index.html", 200, ("content-length", Some("7")), b"<p>home"),
        ("/?query", 200, ("x-content-type-options", Some("nosniff")), b"<p>home"),
        (
            "/a%20b/style.css",
            200,
            ("content-type", Some("text/css; charset=utf-8")),
            b"p{}",
        ),
        ("/plain", 200, ("content-type", None), b"?"),
        ("/empty.txt", 200, ("content-length", Some("0")), b""),
        ("http://x/plain", 200, ("accept-ranges", Some("bytes")), b"?"),
        ("/sub", 301, ("location", Some("/sub/")), b""),
        ("/sub?a=b", 301, ("location", Some("/sub/?a=b")), b""),
        ("//sub", 301, ("location", Some("/sub/")), b""),
        ("/a%20b", 301, ("location", Some("/a%20b/")), b""),
        ("/sub/", 200, ("etag", Some("*")), b"<p>sub"),
        ("/sub/../plain", 200, ("content-type", None), b"?"),
        // No listing.
        ("/bare/", 404, ("location", None), b""),
        ("/a%20b/", 404, ("location", None), b""),
        ("/nothing", 404, ("etag", None), b""),
        ("/plain/", 404, ("etag", None), b""),
        ("/plain/x", 404, ("etag", None), b""),
        ("/../plain", 400, ("etag", None), b""),
        ("/%00", 400, ("etag", None), b""),
    ];
    for (path, status, (name, value), content) in cases {
        let answer = site.get(path, &[]);
        assert_eq!(answer.status, *status, "{path}");
        match value {
            Some("*") => assert!(answer.field(name).is_some(), "{path}"),
            value => assert_eq!(answer.field(name), *value, "{path}"),
        }
        assert_eq!(answer.body, *content, "{path}");
        let head = site.send("HEAD", path, &[]);
        assert_eq!((head.status, head.body.len()), (*status, 0), "HEAD {path}");
        // Section 9.3.2: the fields of a GET.
        assert_eq!(
            head.field("content-length"),
            answer.field("content-length"),
            "HEAD {path}"
        );
        assert_eq!(head.field("etag"), answer.field("etag"), "HEAD {path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "get"] {
        let answer = site.send(method, "/", &[]);
        assert_eq!(
            (answer.status, answer.field("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
    }
}

#[test]
fn what_is_no_file_and_what_is_hidden() {
    let site = Site::new(|config| config);
    site.file("target.txt", b"target");
    site.file(".secret", b"secret");
    site.file(".well-known/acme", b"token");
    symlink("target.txt", site.root().join("link")).unwrap();
    rustix_fifo(&site.root().join("fifo"));
    std::os::unix::net::UnixListener::bind(site.root().join("socket")).unwrap();
    for path in ["/.secret", "/%2esecret", "/link", "/fifo", "/socket"] {
        assert_eq!(site.get(path, &[]).status, 404, "{path}");
    }
    assert_eq!(site.get("/.well-known/acme", &[]).body, b"token");
    let open = site.again(|config| config.dotfiles(true));
    assert_eq!(open.get("/.secret", &[]).body, b"secret");
}

fn rustix_fifo(path: &std::path::Path) {
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn links_stay_inside() {
    let site = Site::new(|config| config.symlinks(true));
    site.file("target.txt", b"target");
    fs::create_dir(site.root().join("sub")).unwrap();
    let outside = site.root().parent().unwrap().join("outside.txt");
    fs::write(&outside, b"outside").unwrap();
    for (link, to) in [
        ("link", "target.txt"),
        ("sub/up", "../target.txt"),
        ("out", "../outside.txt"),
        ("sub/out", "../../outside.txt"),
        ("absolute", outside.to_str().unwrap()),
        ("etc", "/etc"),
        ("loop", "loop"),
        ("proc", "/proc/self/root"),
    ] {
        symlink(to, site.root().join(link)).unwrap();
    }
    // Where the kernel cannot hold links inside, none is followed.
    let follows = site.get("/link", &[]).status == 200;
    for (path, inside) in [
        ("/link", true),
        ("/sub/up", true),
        ("/out", false),
        ("/sub/out", false),
        ("/absolute", false),
        ("/etc/passwd", false),
        ("/loop", false),
        ("/proc/etc/passwd", false),
    ] {
        let answer = site.get(path, &[]);
        let expected = if inside && follows {
            (200, &b"target"[..])
        } else {
            (404, &b""[..])
        };
        assert_eq!((answer.status, &answer.body[..]), expected, "{path}");
    }
}

#[test]
fn conditional_requests() {
    let site = Site::new(|config| config.cache_control("max-age=60"));
    site.file("a.txt", b"content");
    site.age("a.txt", date());
    let first = site.get("/a.txt", &[]);
    let tag = first.field("etag").unwrap().to_owned();
    assert_eq!(first.field("last-modified"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert!(tag.starts_with('"'), "{tag}");
    for (name, value, status) in [
        ("If-None-Match", &*tag, 304),
        ("If-None-Match", "*", 304),
        ("If-None-Match", "\"x\"", 200),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("If-Match", &*tag, 200),
        ("If-Match", "\"x\"", 412),
        ("If-Unmodified-Since", "Sun, 06 Nov 1994 08:49:36 GMT", 412),
    ] {
        let answer = site.get("/a.txt", &[(name, value)]);
        assert_eq!(answer.status, status, "{name}: {value}");
        assert_eq!(answer.body, if status == 200 { &b"content"[..] } else { b"" }, "{name}");
        // Section 15.4.5: what a cache needs.
        assert_eq!(answer.field("etag"), Some(&*tag), "{name}");
        assert_eq!(answer.field("cache-control"), Some("max-age=60"), "{name}");
        // A 304 has no content, and announces none that is not the file's.
        assert!(status != 304 || answer.field("content-length").is_none(), "{name}");
    }
    // Section 8.8.1: it may change again within the tick, so the tag is weak, and ranges are not combined by it.
    site.file("new.txt", b"content");
    let new = site.get("/new.txt", &[]);
    let tag = new.field("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/"), "{tag}");
    assert_eq!(
        site.get("/new.txt", &[("Range", "bytes=0-0"), ("If-Range", &tag)])
            .status,
        200
    );
    // Section 8.8.2.1: no time in the future.
    site.age("new.txt", SystemTime::now() + Duration::from_secs(1_000_000));
    let future = site.get("/new.txt", &[]);
    let modified = httpdate::parse_http_date(future.field("last-modified").unwrap()).unwrap();
    assert!(modified <= SystemTime::now());
}

#[test]
fn ranges() {
    let site = Site::new(|config| config);
    let content = text(10_000);
    site.file("a.txt", &content);
    site.age("a.txt", date());
    let cases: &[(&str, u16, &str, std::ops::Range<usize>)] = &[
        ("bytes=0-499", 206, "bytes 0-499/10000", 0..500),
        ("bytes=-500", 206, "bytes 9500-9999/10000", 9500..10000),
        ("bytes=9999-", 206, "bytes 9999-9999/10000", 9999..10000),
        ("bytes=0-", 206, "bytes 0-9999/10000", 0..10000),
        // Joined: section 15.3.7.2 asks for a single part then.
        ("bytes=0-10,5-20", 206, "bytes 0-20/10000", 0..21),
        ("bytes=10000-", 416, "bytes */10000", 0..0),
        ("bytes=2-1", 200, "", 0..10000),
        ("pages=1-2", 200, "", 0..10000),
    ];
    for (range, status, content_range, part) in cases {
        let answer = site.get("/a.txt", &[("Range", range)]);
        assert_eq!(answer.status, *status, "{range}");
        assert_eq!(
            answer.field("content-range").unwrap_or_default(),
            *content_range,
            "{range}"
        );
        assert!(answer.body == content[part.clone()], "{range}");
    }
    // Section 14.2: for GET alone.
    let head = site.send("HEAD", "/a.txt", &[("Range", "bytes=0-1")]);
    assert_eq!((head.status, head.field("content-length")), (200, Some("10000")));
    // Section 13.2.2: after the other preconditions.
    let tag = site.get("/a.txt", &[]).field("etag").unwrap().to_owned();
    let both = [("Range", "bytes=0-1"), ("If-None-Match", &*tag)];
    assert_eq!(site.get("/a.txt", &both).status, 304);
    for (value, status) in [(&*tag, 206), ("\"x\"", 200), ("Sun, 06 Nov 1994 08:49:37 GMT", 206)] {
        let answer = site.get("/a.txt", &[("Range", "bytes=0-1"), ("If-Range", value)]);
        assert_eq!(answer.status, status, "{value}");
    }
    // A field that comes twice is none.
    assert_eq!(
        site.get("/a.txt", &[("Range", "bytes=0-1"), ("Range", "bytes=0-1")])
            .status,
        200
    );
    let many: Vec<_> = (0..17).map(|part| format!("{0}-{0}", part * 200)).collect();
    assert_eq!(
        site.get("/a.txt", &[("Range", &format!("bytes={}", many.join(",")))])
            .status,
        200
    );
}

#[test]
fn several_ranges() {
    let site = Site::new(|config| config);
    let content = text(300_000);
    site.file("a.txt", &content);
    let answer = site.get("/a.txt", &[("Range", "bytes=200000-299999, 0-9, 1000-100999")]);
    assert_eq!((answer.status, answer.field("content-range")), (206, None));
    let parts = multipart(&answer);
    let expected = [(200_000, 300_000), (0, 10), (1000, 101_000)];
    assert_eq!(parts.len(), expected.len());
    for ((head, body), (start, end)) in parts.into_iter().zip(expected) {
        assert!(head.contains("Content-Type: text/plain; charset=utf-8\r\n"), "{head}");
        let range = format!("Content-Range: bytes {start}-{}/300000", end - 1);
        assert!(head.contains(&range), "{head}");
        assert!(body == content[start..end]);
    }
}

/// The parts of a multipart answer: their heads and contents.
fn multipart(answer: &Answer) -> Vec<(String, Vec<u8>)> {
    let media_type = answer.field("content-type").unwrap();
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let delimiter = format!("--{boundary}\r\n");
    let close = format!("\r\n--{boundary}--\r\n");
    let inner = answer.body.strip_suffix(close.as_bytes()).unwrap();
    let mut rest = inner.strip_prefix(delimiter.as_bytes()).unwrap();
    let mut parts = Vec::new();
    loop {
        let find = |text: &[u8], what: &[u8]| text.windows(what.len()).position(|window| window == what);
        let at = find(rest, b"\r\n\r\n").unwrap();
        let (head, behind) = (String::from_utf8(rest[..at + 2].to_vec()).unwrap(), &rest[at + 4..]);
        let next = format!("\r\n{delimiter}");
        match find(behind, next.as_bytes()) {
            Some(end) => {
                parts.push((head, behind[..end].to_vec()));
                rest = &behind[end + next.len()..];
            }
            None => {
                parts.push((head, behind.to_vec()));
                return parts;
            }
        }
    }
}

#[test]
fn precompressed_files() {
    let site = Site::new(|config| config.precompressed(true));
    site.file("a.css", b"plain");
    site.file("a.css.br", b"br");
    site.file("a.css.gz", b"gz");
    for name in ["a.css", "a.css.br", "a.css.gz"] {
        site.age(name, date());
    }
    let plain = site.get("/a.css", &[]);
    for (accept, encoding, body) in [
        ("gzip, br", Some("br"), "br"),
        ("gzip", Some("gzip"), "gz"),
        ("br;q=0.1, gzip;q=0.2", Some("gzip"), "gz"),
        ("zstd", None, "plain"),
        ("identity", None, "plain"),
        ("br;q=0", None, "plain"),
    ] {
        let answer = site.get("/a.css", &[("Accept-Encoding", accept)]);
        assert_eq!(
            (answer.status, answer.field("content-encoding")),
            (200, encoding),
            "{accept}"
        );
        assert_eq!(answer.body, body.as_bytes(), "{accept}");
        assert_eq!(
            answer.field("content-type"),
            Some("text/css; charset=utf-8"),
            "{accept}"
        );
        assert_eq!(answer.field("vary"), Some("Accept-Encoding"), "{accept}");
        // Section 8.8.3.3: another representation, another tag.
        assert_eq!(
            answer.field("etag") == plain.field("etag"),
            encoding.is_none(),
            "{accept}"
        );
    }
    let range = [("Accept-Encoding", "br"), ("Range", "bytes=1-")];
    let answer = site.get("/a.css", &range);
    assert_eq!(
        (answer.status, answer.field("content-encoding"), &answer.body[..]),
        (206, Some("br"), &b"r"[..])
    );
    // One that is older than the file was made of another.
    site.age("a.css", date() + Duration::from_secs(10));
    let answer = site.get("/a.css", &[("Accept-Encoding", "br")]);
    assert_eq!(
        (answer.field("content-encoding"), &answer.body[..]),
        (None, &b"plain"[..])
    );
    // Only where it is switched on.
    let plain = site.again(|config| config);
    assert_eq!(
        plain
            .get("/a.css", &[("Accept-Encoding", "br")])
            .field("content-encoding"),
        None
    );
}

#[test]
fn a_file_that_changes_is_not_sent_to_its_end() {
    let site = Site::new(|config| config);
    let length = 30 << 20;
    site.file("long", &text(length));
    for shrinks in [true, false] {
        site.age("long", date());
        let mut download = site.begin("/long");
        download.take(3 << 20);
        if shrinks {
            fs::File::options()
                .write(true)
                .open(site.root().join("long"))
                .unwrap()
                .set_len(15 << 20)
                .unwrap();
        } else {
            site.file("long", &text(length));
        }
        let (got, whole) = download.finish();
        assert!(!whole, "shrinks: {shrinks}: {got} bytes");
        assert!(got < length, "shrinks: {shrinks}: {got} bytes");
    }
    // One that is replaced is sent as it was.
    let mut download = site.begin("/long");
    download.take(3 << 20);
    site.file("new", b"new");
    fs::rename(site.root().join("new"), site.root().join("long")).unwrap();
    assert_eq!(download.finish(), (length, true));
    assert_eq!(site.get("/long", &[]).body, b"new");
}

#[test]
fn a_bad_field_is_refused_at_the_start() {
    let config = Config::new("/").cache_control("a\r\nb: c");
    assert!(http_files::Files::open(config).is_err());
    assert!(http_files::Files::open(Config::new("/nothing/is/here")).is_err());
}
