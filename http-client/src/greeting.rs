//! The handshake with a proxy, before the connection belongs to TLS or HTTP: CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC
//! 1928, 1929).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use proto_http::{Parsed, Response, Rules};
use protocol::{Cx, Input, Protocol, Upgrade};

use crate::{Error, Phase, ProxyError};

/// Where a tunnel leads: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The host, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// A handshake with a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// CONNECT, with this value of Proxy-Authorization.
    Connect(Destination, Option<String>),
    /// SOCKS5, with user and password.
    Socks5(Destination, Option<(String, String)>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waits for the answer to CONNECT, or to the SOCKS request.
    Answer,
    /// Waits for the choice of a SOCKS method.
    Method,
    /// Waits for the answer to user and password.
    Login,
    Done,
}

/// The first protocol of a connection through a proxy: shakes hands, then hands over to `N`.
#[derive(Debug)]
pub struct Greeting<N> {
    handshake: Handshake,
    state: State,
    next: Option<N>,
    within: Option<Duration>,
    deadline: Option<Instant>,
}

impl<N> Greeting<N> {
    /// Shakes hands, in the time `within`, then hands over to `next`.
    pub fn new(handshake: Handshake, within: Option<Duration>, next: N) -> Self {
        Greeting {
            handshake,
            state: State::Answer,
            next: Some(next),
            within,
            deadline: None,
        }
    }

    fn connect_answer(&mut self, input: &mut Input<'_>) -> Result<(), ProxyError> {
        loop {
            let (used, status) = match Response::parse(input.as_slice(), &Rules::RESPONSES) {
                Ok(Parsed::Complete { head, length }) => (length, head.status()),
                Ok(Parsed::Incomplete) => return Ok(()),
                Err(_) => return Err(ProxyError::Invalid),
            };
            input.consume(used);
            match status {
                // A 2xx has no content, whatever its fields say (RFC 9112 section 6.3).
                200..=299 => {
                    self.state = State::Done;
                    return Ok(());
                }
                100..=199 => {}
                _ => return Err(ProxyError::Status(status)),
            }
        }
    }

    fn socks_answer(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), ProxyError> {
        let Handshake::Socks5(destination, credentials) = &self.handshake else {
            return Ok(());
        };
        loop {
            match (self.state, input.as_slice()) {
                (State::Method, [5, method, ..]) => {
                    match (method, credentials) {
                        (0, _) => {
                            socks_request(destination, cx)?;
                            self.state = State::Answer;
                        }
                        (2, Some((user, password))) => {
                            let lengths = (u8::try_from(user.len()), u8::try_from(password.len()));
                            let (Ok(user_length), Ok(password_length)) = lengths else {
                                return Err(ProxyError::TooLong);
                            };
                            cx.send(&[1, user_length]);
                            cx.send(user.as_bytes());
                            cx.send(&[password_length]);
                            cx.send(password.as_bytes());
                            self.state = State::Login;
                        }
                        _ => return Err(ProxyError::Refused),
                    }
                    input.consume(2);
                }
                (State::Login, [_, status, ..]) => {
                    if *status != 0 {
                        return Err(ProxyError::Refused);
                    }
                    input.consume(2);
                    socks_request(destination, cx)?;
                    self.state = State::Answer;
                }
                (State::Answer, [5, code, ..]) if *code != 0 => return Err(ProxyError::Socks(*code)),
                (State::Answer, &[5, 0, _, kind, first, ..]) => {
                    let address = match kind {
                        1 => 4,
                        3 => 1 + usize::from(first),
                        4 => 16,
                        _ => return Err(ProxyError::Invalid),
                    };
                    if input.len() < 4 + address + 2 {
                        return Ok(());
                    }
                    input.consume(4 + address + 2);
                    self.state = State::Done;
                }
                (State::Method | State::Answer, [version, ..]) if *version != 5 => return Err(ProxyError::Invalid),
                _ => return Ok(()),
            }
        }
    }
}

fn socks_request(destination: &Destination, cx: &mut Cx<'_>) -> Result<(), ProxyError> {
    cx.send(&[5, 1, 0]);
    match destination.host.parse() {
        Ok(IpAddr::V4(address)) => {
            cx.send(&[1]);
            cx.send(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            cx.send(&[4]);
            cx.send(&address.octets());
        }
        Err(_) => {
            let length = u8::try_from(destination.host.len()).map_err(|_| ProxyError::TooLong)?;
            cx.send(&[3, length]);
            cx.send(destination.host.as_bytes());
        }
    }
    cx.send(&destination.port.to_be_bytes());
    Ok(())
}

impl<N: Protocol> Protocol for Greeting<N> {
    type Message = N::Message;
    type Error = Error;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        self.deadline = self.within.and_then(|within| cx.now().checked_add(within));
        match &self.handshake {
            Handshake::Connect(destination, authorization) => {
                let host = match destination.host.contains(':') {
                    true => format!("[{}]:{}", destination.host, destination.port),
                    false => format!("{}:{}", destination.host, destination.port),
                };
                let mut head = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
                if let Some(value) = authorization {
                    head.push_str("Proxy-Authorization: ");
                    head.push_str(value);
                    head.push_str("\r\n");
                }
                head.push_str("\r\n");
                cx.send(head.as_bytes());
            }
            Handshake::Socks5(_, credentials) => {
                self.state = State::Method;
                let methods: &[u8] = if credentials.is_some() {
                    &[5, 2, 0, 2]
                } else {
                    &[5, 1, 0]
                };
                cx.send(methods);
            }
        }
        Ok(())
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Error> {
        match self.handshake {
            Handshake::Connect(..) => self.connect_answer(input)?,
            Handshake::Socks5(..) => self.socks_answer(cx, input)?,
        }
        Ok(())
    }

    fn eof(&mut self, _: &mut Cx<'_>) -> Result<(), Error> {
        Err(ProxyError::Closed.into())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn keeps_reading(&self) -> bool {
        true
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Error> {
        cx.abort();
        Err(Error::Timeout(Phase::Handshake))
    }
}

impl<N: Protocol> Upgrade for Greeting<N> {
    type Next = N;

    fn take_next(&mut self, _: &mut Cx<'_>) -> Result<Option<N>, Error> {
        if self.state != State::Done {
            return Ok(None);
        }
        Ok(self.next.take())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use protocol::testing::Harness;
    use protocol::{Simple, SimpleProtocol, Switch};

    use super::*;

    /// Sends back what it gets.
    struct Echo;

    impl SimpleProtocol for Echo {
        fn connected(&mut self, cx: &mut Cx<'_>) {
            cx.send(b"hi");
        }
        fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) {
            cx.send(input.take_all());
        }
    }

    type Rig = Harness<Switch<Greeting<Simple<Echo>>>>;

    fn rig(handshake: Handshake) -> Rig {
        let within = Some(Duration::from_secs(5));
        Harness::new(Switch::new(Greeting::new(handshake, within, Simple(Echo))))
    }

    fn to(host: &str) -> Destination {
        Destination {
            host: host.into(),
            port: 443,
        }
    }

    /// Plays the answers at every split; the protocol behind gets what follows them.
    fn accepts(handshake: &Handshake, answers: &[u8], said: &[u8]) {
        let all = [answers, b"tail"].concat();
        for split in 0..=all.len() {
            let mut rig = rig(handshake.clone());
            rig.receive(&all[..split]);
            rig.receive(&all[split..]);
            assert_eq!(rig.sent(), [said, b"hitail"].concat(), "{split}");
            assert!(rig.ended().is_none());
        }
        let mut rig = rig(handshake.clone());
        for byte in &all {
            rig.receive(&[*byte]);
        }
        assert_eq!(rig.sent(), [said, b"hitail"].concat());
    }

    fn refuses(handshake: &Handshake, answers: &[u8]) -> Error {
        for split in 0..=answers.len() {
            let mut rig = rig(handshake.clone());
            rig.receive(&answers[..split]);
            if rig.error().is_none() {
                rig.receive(&answers[split..]);
            }
            let Some(protocol::SwitchError::Before(error)) = rig.error() else {
                panic!("{answers:?} {split}");
            };
            if split == answers.len() {
                return error.clone();
            }
        }
        unreachable!("the last split returns")
    }

    #[test]
    fn connect() {
        let plain = Handshake::Connect(to("a.test"), None);
        let head = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
        accepts(&plain, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head);
        accepts(&plain, b"HTTP/1.0 103 Early\r\n\r\nHTTP/1.0 204 \r\n\r\n", head);
        let six = Handshake::Connect(to("2001:db8::1"), Some("Basic eA==".into()));
        accepts(
            &six,
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nProxy-Authorization: Basic eA==\r\n\r\n",
        );
        assert_eq!(
            refuses(&plain, b"HTTP/1.1 407 No\r\n\r\n"),
            ProxyError::Status(407).into()
        );
        assert_eq!(refuses(&plain, b"SSH-2.0-x\r\n\r\n"), ProxyError::Invalid.into());
    }

    #[test]
    fn socks5() {
        let by_name = Handshake::Socks5(to("a.test"), None);
        let request = b"\x05\x01\x00\x05\x01\x00\x03\x06a.test\x01\xbb";
        accepts(&by_name, b"\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50", request);
        accepts(&by_name, b"\x05\x00\x05\x00\x00\x03\x02xy\x00\x50", request);
        let login = Handshake::Socks5(to("192.0.2.1"), Some(("me".into(), "secret".into())));
        accepts(
            &login,
            b"\x05\x02\x01\x00\x05\x00\x00\x04aaaabbbbccccdddd\x00\x50",
            b"\x05\x02\x00\x02\x01\x02me\x06secret\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb",
        );
        // The proxy needs no login.
        accepts(
            &login,
            b"\x05\x00\x05\x00\x00\x01aaaa\x00\x50",
            b"\x05\x02\x00\x02\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb",
        );
        assert_eq!(refuses(&by_name, b"\x05\xff"), ProxyError::Refused.into());
        assert_eq!(refuses(&by_name, b"\x05\x02"), ProxyError::Refused.into());
        assert_eq!(refuses(&login, b"\x05\x02\x01\x01"), ProxyError::Refused.into());
        assert_eq!(refuses(&by_name, b"\x05\x00\x05\x05"), ProxyError::Socks(5).into());
        assert_eq!(
            refuses(&by_name, b"\x05\x00\x05\x00\x00\x09a"),
            ProxyError::Invalid.into()
        );
        assert_eq!(refuses(&by_name, b"HTTP"), ProxyError::Invalid.into());
        let long = Handshake::Socks5(to(&"a".repeat(256)), None);
        assert_eq!(refuses(&long, b"\x05\x00"), ProxyError::TooLong.into());
    }

    #[test]
    fn a_silent_or_gone_proxy() {
        let mut silent = rig(Handshake::Connect(to("a"), None));
        silent.advance(Duration::from_secs(6));
        assert!(matches!(
            silent.error(),
            Some(protocol::SwitchError::Before(Error::Timeout(Phase::Handshake)))
        ));
        let mut gone = rig(Handshake::Connect(to("a"), None));
        gone.eof();
        let expected: Option<&protocol::SwitchError<Error, Infallible>> = gone.error();
        assert!(matches!(
            expected,
            Some(protocol::SwitchError::Before(Error::Proxy(ProxyError::Closed)))
        ));
    }
}
