//! A directory for a test, and a client in memory.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_files::{Config, Files, FilesHandler};
use proto_http::{Server, ServerConfig};
use protocol::testing::Harness;

/// Sun, 06 Nov 1994 08:49:37 GMT.
pub(crate) fn date() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

pub(crate) struct Site {
    folder: Arc<tempfile::TempDir>,
    files: Arc<Files>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields = lines.map(|line| line.split_once(": ").unwrap());
        Self {
            status,
            fields: fields
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.fields.iter().filter(|(known, _)| known == name);
        let value = all.next().map(|(_, value)| &**value);
        assert!(all.next().is_none(), "{name} comes twice");
        value
    }
}

impl Site {
    pub(crate) fn new(config: impl FnOnce(Config) -> Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        let files = Files::open(config(Config::new(folder.path().join("root")))).unwrap();
        Self {
            folder: Arc::new(folder),
            files,
        }
    }

    /// The same directory, served otherwise.
    pub(crate) fn again(&self, config: impl FnOnce(Config) -> Config) -> Self {
        Self {
            folder: Arc::clone(&self.folder),
            files: Files::open(config(Config::new(self.root()))).unwrap(),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Sets when a file was changed.
    pub(crate) fn age(&self, name: &str, modified: SystemTime) {
        let file = fs::File::options().write(true).open(self.root().join(name)).unwrap();
        file.set_modified(modified).unwrap();
    }

    fn client(&self) -> Harness<Server<FilesHandler<Infallible>>> {
        let config = Arc::new(ServerConfig::new(SystemTime::now));
        let mut client = Harness::new(Server::new(config, self.files.handler()));
        client.pump();
        client
    }

    pub(crate) fn get(&self, target: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", target, fields)
    }

    pub(crate) fn send(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let mut client = self.client();
        client.receive(&request(method, target, fields));
        assert_eq!(client.ended(), None, "{method} {target}");
        let answer = Answer::parse(&client.take_sent());
        let length = answer.field("content-length").and_then(|length| length.parse().ok());
        assert!(
            method == "HEAD" || length.unwrap_or(0) == answer.body.len(),
            "{method} {target}"
        );
        // The connection goes on.
        client.receive(&request("GET", "/does-not-exist", &[]));
        assert_eq!(Answer::parse(&client.take_sent()).status, 404);
        answer
    }

    /// Begins to read an answer of which the client takes nothing yet.
    pub(crate) fn begin(&self, target: &str) -> Reader {
        let mut client = self.client();
        client.set_window(Some(0));
        client.receive(&request("GET", target, &[]));
        Reader {
            client,
            body: 0,
            begun: false,
            announced: 0,
        }
    }
}

fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// An answer that is read slowly.
pub(crate) struct Reader {
    client: Harness<Server<FilesHandler<Infallible>>>,
    body: usize,
    begun: bool,
    announced: usize,
}

impl Reader {
    /// Lets the client take so much more.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.client.set_window(Some(bytes));
        self.client.pump();
        self.count();
    }

    fn count(&mut self) {
        let sent = self.client.take_sent();
        if !self.begun && !sent.is_empty() {
            self.begun = true;
            let answer = Answer::parse(&sent);
            self.announced = answer.field("content-length").unwrap().parse().unwrap();
            self.body += answer.body.len();
        } else {
            self.body += sent.len();
        }
    }

    /// Takes the rest: how much content came, and whether it was all that was announced.
    pub(crate) fn finish(mut self) -> (usize, bool) {
        self.client.set_window(None);
        self.client.pump();
        self.count();
        (self.body, self.body == self.announced)
    }
}
