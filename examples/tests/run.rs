//! Every example works as documented, on every driver.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use drivers::{Driver, Server};
use proto_http::{Handler, Misuse, Request, Responder, ServerConfig};
use proto_ws::handshake::server::Request as Handshake;
use proto_ws::{Message, Socket};

/// A running example, which ends when dropped.
struct Example {
    child: Child,
    address: String,
}

impl Example {
    fn start(program: &str, driver: Driver) -> Self {
        Self::start_with(program, &["--driver", driver.name(), "--listen", "127.0.0.1:0"])
    }

    fn start_with(program: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(program)
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Example { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn echo() {
    for driver in Driver::ALL {
        let echo = Example::start(env!("CARGO_BIN_EXE_echo"), *driver);
        let mut stream = echo.connect();
        stream.write_all(b"hello").unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"hello");
    }
}

#[test]
fn hello() {
    for driver in Driver::ALL {
        let hello = Example::start(env!("CARGO_BIN_EXE_hello"), *driver);
        for (path, expected) in [("/", "Hello!\n"), ("/slow", "Hello, after some work!\n")] {
            let mut stream = hello.connect();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(expected),
                "{answer}"
            );
        }
    }
}

#[test]
fn offload() {
    for driver in Driver::ALL {
        let offload = Example::start(env!("CARGO_BIN_EXE_offload"), *driver);
        let mut stream = offload.connect();
        let lines: String = (0..50).map(|n| format!("line {n}\n")).collect();
        stream.write_all(lines.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        let expected: String = lines
            .lines()
            .map(|line| line.to_uppercase().chars().rev().collect::<String>() + "\n")
            .collect();
        assert_eq!(back, expected);
        // More lines than the queue holds: dropped lines are reported, and none is lost silently.
        let mut stream = offload.connect();
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all("x\n".repeat(20_000).as_bytes()).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        writing.join().unwrap();
        assert_eq!(back.lines().count(), 20_000);
        assert!(back.lines().all(|line| line == "X" || line.starts_with("busy: ")));
    }
}

#[test]
fn get() {
    for driver in Driver::ALL {
        let hello = Example::start(env!("CARGO_BIN_EXE_hello"), *driver);
        let get = |paths: &[&str]| {
            Command::new(env!("CARGO_BIN_EXE_get"))
                .args(["--driver", driver.name()])
                .args(paths.iter().map(|path| format!("http://{}{path}", hello.address)))
                .output()
                .unwrap()
        };
        let both = get(&["", "/slow"]);
        assert!(both.status.success(), "{both:?}");
        assert_eq!(both.stdout, b"Hello!\nHello, after some work!\n");
        let none = get(&["/none"]);
        assert_eq!(none.status.code(), Some(1), "{none:?}");
        assert!(none.stderr.starts_with(b"404 "), "{none:?}");
    }
}

#[test]
fn lookup() {
    let lookup = Example::start_with(env!("CARGO_BIN_EXE_lookup"), &["--listen", "127.0.0.1:0"]);
    let mut stream = lookup.connect();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    // The second request waits for the first.
    write!(stream, "{}{}", get("/127.0.0.1"), get("/no.such.name.invalid")).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 200 OK"), "{answers}");
    assert!(answers.contains("\r\n\r\n127.0.0.1\n"), "{answers}");
    assert!(answers.contains("HTTP/1.1 404 Not Found"), "{answers}");
    assert!(answers.contains("\r\n\r\nno.such.name.invalid: "), "{answers}");
}

#[test]
fn notes() {
    for driver in Driver::ALL {
        let notes = Example::start(env!("CARGO_BIN_EXE_notes"), *driver);
        let ask = |method: &str, path: &str, body: &str| {
            let mut stream = notes.connect();
            let length = body.len();
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
            write!(stream, "{head}Content-Type: application/json\r\n\r\n{body}").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head[9..12].parse::<u16>().unwrap(), body.to_owned())
        };
        let reply = |status: u16, body: &str| (status, body.to_owned());
        assert_eq!(ask("POST", "/notes", r#"{"text":"milk"}"#), reply(201, "1"));
        assert_eq!(
            ask("POST", "/notes", r#"{"text":"bread","done":true}"#),
            reply(201, "2")
        );
        assert_eq!(
            ask("GET", "/notes/1", ""),
            reply(200, r#"{"text":"milk","done":false}"#)
        );
        let done = r#"{"2":{"text":"bread","done":true}}"#;
        assert_eq!(ask("GET", "/notes?done=true", ""), reply(200, done));
        assert_eq!(ask("DELETE", "/notes/1", ""), reply(204, ""));
        assert_eq!(ask("GET", "/notes/1", "").0, 404);
        assert_eq!(ask("POST", "/notes", "{").0, 400);
        assert_eq!(ask("POST", "/notes", "{}").0, 422);
        assert_eq!(ask("PUT", "/notes", "").0, 405);
    }
}

#[test]
fn stun_and_ntp() {
    for driver in Driver::ALL {
        for (program, expected) in [
            (env!("CARGO_BIN_EXE_stun"), "127.0.0.1:"),
            // Both ends have one clock.
            (env!("CARGO_BIN_EXE_ntp"), "offset "),
        ] {
            let server = Example::start(program, *driver);
            let ask = |server: &str| {
                Command::new(program)
                    .args(["--driver", driver.name(), server])
                    .output()
                    .unwrap()
            };
            let output = ask(&server.address);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && text.starts_with(expected), "{text}");
            if let Some(offset) = text.strip_prefix("offset ") {
                let offset: f64 = offset.split(' ').next().unwrap().parse().unwrap();
                assert!(offset.abs() < 1.0, "{text}");
            }
        }
    }
}

#[test]
fn stun_and_ntp_give_up() {
    let ask = |program: &str, driver: &str, tries: usize| {
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let output = Command::new(program)
            .args(["--driver", driver, &address])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        silent.set_nonblocking(true).unwrap();
        let sent = std::iter::from_fn(|| silent.recv_from(&mut [0; 100]).ok()).count();
        assert_eq!(sent, tries, "{program}");
    };
    thread::scope(|scope| {
        for driver in Driver::ALL {
            for (program, tries) in [(env!("CARGO_BIN_EXE_stun"), 4), (env!("CARGO_BIN_EXE_ntp"), 3)] {
                scope.spawn(move || ask(program, driver.name(), tries));
            }
        }
    });
}

#[test]
fn chat() {
    for driver in Driver::ALL {
        let chat = Example::start(env!("CARGO_BIN_EXE_chat"), *driver);
        let mut one = BufReader::new(chat.connect());
        let mut line = String::new();
        one.read_line(&mut line).unwrap();
        assert!(line.ends_with("is here\n"), "{line}");
        let mut two = chat.connect();
        line.clear();
        one.read_line(&mut line).unwrap();
        assert!(line.ends_with("is here\n"), "{line}");
        two.write_all(b"good morn").unwrap();
        two.write_all(b"ing\n").unwrap();
        line.clear();
        one.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{}: good morning\n", two.local_addr().unwrap()));
        let left = two.local_addr().unwrap();
        drop(two);
        line.clear();
        one.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{left}: has left\n"));
    }
}

#[test]
fn prefork() {
    for driver in Driver::ALL {
        let mut parent = Example::start(env!("CARGO_BIN_EXE_prefork"), *driver);
        let greet = || {
            let mut stream = BufReader::new(parent.connect());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            (line.trim().parse::<u32>().unwrap(), stream)
        };
        let mut open: Vec<_> = (0..40).map(|_| greet()).collect();
        let victim = open[0].0;
        let signal = |name: &str, process: u32| {
            let done = Command::new("kill")
                .args([name, &process.to_string()])
                .status()
                .unwrap();
            assert!(done.success());
        };
        signal("-KILL", victim);
        // The connections of this process end, those of the others continue.
        for (process, stream) in &mut open {
            let echoed = stream.get_mut().write_all(b"x").and_then(|()| {
                let mut back = [0];
                stream.read_exact(&mut back)
            });
            assert_eq!(echoed.is_ok(), *process != victim);
        }
        // No connection is refused, and another process takes its place.
        let others: Vec<u32> = open.iter().map(|(process, _)| *process).collect();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while greet().0 == victim || others.contains(&greet().0) {
            assert!(std::time::Instant::now() < end, "no worker was started again");
        }
        drop(open);
        signal("-TERM", parent.child.id());
        assert!(parent.child.wait().unwrap().success());
    }
}

/// A handler that upgrades every request to a WebSocket echo.
struct Upgrader;

impl Handler for Upgrader {
    type Message = Infallible;
    type Next = proto_ws::Server<Echo>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        let fields = request.fields();
        let handshake = Handshake::read(request.method(), fields.iter().map(|field| (field.name, field.value)));
        let accepted = handshake.unwrap().accept();
        let fields: Vec<_> = accepted.fields().collect();
        responder.upgrade(&fields.as_slice())
    }

    fn switched(&mut self) -> Option<Self::Next> {
        Some(proto_ws::Server::new(Arc::default(), Echo))
    }
}

struct Echo;

impl proto_ws::Handler for Echo {
    type Message = Infallible;

    fn message(&mut self, message: Message<'_>, socket: &mut Socket<'_, '_>) -> Result<(), proto_ws::Misuse> {
        socket.message(message)?;
        Ok(())
    }
}

#[test]
fn client() {
    for driver in Driver::ALL {
        let config = Arc::new(ServerConfig::default());
        let factory = move |_: &protocol::Peer<'_, Infallible>| {
            Some(proto_http::Server::switching(Arc::clone(&config), Upgrader))
        };
        let server = Server::on(*driver).serve("127.0.0.1:0", factory).unwrap();
        let address = server.local_addr().unwrap().to_string();
        let mut client = Command::new(env!("CARGO_BIN_EXE_client"))
            .args([&address, "/any", "--driver", driver.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        client
            .stdin
            .take()
            .unwrap()
            .write_all("first\nzweite ✓\n".as_bytes())
            .unwrap();
        let output = client.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "first\nzweite ✓\n");
        assert!(output.status.success());
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("closed: "),
            "{output:?}"
        );
        server.stop(Duration::from_secs(5)).unwrap();
    }
}

/// A server closes a kept connection while the next request is on its way: a GET is repeated on another connection, a POST is not (RFC 9110
/// section 9.2.2).
#[test]
fn get_goes_on_over_another_connection() {
    for driver in Driver::ALL {
        for (posts, expected) in [(false, "12"), (true, "1")] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let mut seen = [0; 1024];
                let (mut first, _) = listener.accept().unwrap();
                assert_ne!(first.read(&mut seen).unwrap(), 0);
                first
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
                    .unwrap();
                assert_ne!(first.read(&mut seen).unwrap(), 0);
                drop(first);
                if !posts {
                    let (mut second, _) = listener.accept().unwrap();
                    assert_ne!(second.read(&mut seen).unwrap(), 0);
                    let last = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n2";
                    second.write_all(last).unwrap();
                }
            });
            let mut get = Command::new(env!("CARGO_BIN_EXE_get"));
            get.args(["--driver", driver.name(), &format!("{base}/a"), &format!("{base}/b")]);
            if posts {
                get.args(["--send", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
            }
            let got = get.output().unwrap();
            server.join().unwrap();
            let said = String::from_utf8_lossy(&got.stderr);
            assert_eq!(String::from_utf8_lossy(&got.stdout), expected, "{said}");
            assert_eq!(got.status.success(), !posts, "{said}");
        }
    }
}

#[test]
fn hello_and_get_over_tls() {
    // A self-signed certificate for localhost.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/bodies/src/tls");
    let (certificate, key) = (format!("{folder}/cert.pem"), format!("{folder}/key.pem"));
    for driver in Driver::ALL {
        let flags = ["--driver", driver.name(), "--listen", "127.0.0.1:0", "--tls-cert"];
        let flags = [&flags[..], &[&certificate, "--tls-key", &key]].concat();
        let hello = Example::start_with(env!("CARGO_BIN_EXE_hello"), &flags);
        let port = hello.address.rsplit_once(':').unwrap().1;
        let get = |url: String, flags: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_get"));
            command.args(["--driver", driver.name(), &url, &url]).args(flags);
            command.output().unwrap()
        };
        let fetched = get(format!("https://localhost:{port}/"), &["--tls-ca", &certificate]);
        assert!(fetched.status.success(), "{fetched:?}");
        assert_eq!(fetched.stdout, b"Hello!\nHello!\n");
        // A wrong name, and an unknown authority.
        let wrong = get(format!("https://127.0.0.1:{port}/"), &["--tls-ca", &certificate]);
        assert_eq!(
            (wrong.status.code(), &wrong.stdout[..]),
            (Some(2), &b""[..]),
            "{wrong:?}"
        );
        let plain = get(format!("http://127.0.0.1:{port}/"), &[]);
        assert_eq!(plain.status.code(), Some(1), "{plain:?}");
    }
}

#[test]
fn axum() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let axum = Example::start_with(
        env!("CARGO_BIN_EXE_axum"),
        &["--listen", "127.0.0.1:0", "--files", folder],
    );
    let ask = |request: &str, content: &str| {
        let mut stream = axum.connect();
        let length = content.len();
        write!(stream, "{request}\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{content}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    assert_eq!(ask("GET / HTTP/1.1", ""), "Hello, World!");
    assert_eq!(
        ask("POST /greet HTTP/1.1", r#"{"name":"you"}"#),
        r#"{"text":"Hello, you!"}"#
    );
    assert_eq!(ask("GET /greet?name=you HTTP/1.1", ""), "Hello, you!\n");
    assert_eq!(ask("GET /users/7 HTTP/1.1", ""), "user 7\n");
    assert!(ask("GET /who HTTP/1.1", "").starts_with("127.0.0.1:"));
    assert_eq!(ask("GET /files/lib.rs HTTP/1.1", ""), include_str!("../src/lib.rs"));
    assert_eq!(ask("POST /echo HTTP/1.0", "as it comes"), "as it comes");
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"))
        .args([&axum.address, "/ws"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client
        .stdin
        .take()
        .unwrap()
        .write_all("first\nzweite ✓\n".as_bytes())
        .unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "first\nzweite ✓\n");
    // The closing handshake is complete.
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("closed: CloseCode(1000)"),
        "{output:?}"
    );
}

/// The page counts the lines with code of each example.
#[test]
fn the_page_counts_lines() {
    let count = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
        text.lines().filter(is_code).count()
    };
    let bin = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin");
    let mut rows = 0;
    for row in include_str!("../README.md")
        .lines()
        .filter(|line| line.starts_with("| `"))
    {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`');
        let folder = bin.join(name);
        let lines: usize = match std::fs::read_dir(&folder) {
            Ok(files) => files.map(|file| count(&file.unwrap().path())).sum(),
            Err(_) => count(&folder.with_extension("rs")),
        };
        assert_eq!(cells[3], lines.to_string(), "{name}");
        rows += 1;
    }
    assert_eq!(rows, std::fs::read_dir(&bin).unwrap().count());
}
