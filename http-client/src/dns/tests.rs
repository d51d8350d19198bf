//! The resolver in virtual time, with servers that the tests play.

use std::collections::VecDeque;
use std::sync::mpsc;

use driver_common::Found;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA};
use hickory_proto::rr::{RData, Record};

use super::*;

struct Rig {
    dns: Dns,
    now: Instant,
    sent: VecDeque<Transmit>,
    streams: mpsc::Receiver<(u16, Vec<u8>)>,
    found: mpsc::Receiver<Found>,
    sink: mpsc::Sender<Found>,
}

const SERVER: &str = "192.0.2.53:53";

fn name(text: &str) -> Name {
    Name::from_utf8(text).unwrap()
}

fn a(owner: &str, ttl: u32, last: u8) -> Record {
    Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
}

fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(name(owner), ttl, RData::CNAME(CNAME(name(target))))
}

fn v4(last: u8) -> Found {
    Found::Addresses(Family::V4, vec![IpAddr::from([192, 0, 2, last])])
}

impl Rig {
    fn new(change: impl FnOnce(&mut DnsConfig)) -> Self {
        let mut config = DnsConfig::new(vec![SERVER.parse().unwrap()]);
        change(&mut config);
        let (asked, streams) = mpsc::channel();
        let (sink, found) = mpsc::channel();
        Rig {
            dns: Dns::new(
                config,
                Box::new(move |_, id, question| asked.send((id, question)).unwrap()),
            ),
            now: Instant::now(),
            sent: VecDeque::new(),
            streams,
            found,
            sink,
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Dns, &mut EndpointCx<'_>)) {
        let mut closing = false;
        call(
            &mut self.dns,
            &mut EndpointCx::new(self.now, &mut self.sent, 100, &mut closing),
        );
    }

    fn ask(&mut self, name: &str) {
        let sink = self.sink.clone();
        let answer = Answer::new(move |found| sink.send(found).unwrap());
        self.call(|dns, cx| dns.posted(cx, DnsMessage::Ask(name.into(), answer)).unwrap());
    }

    /// The questions that were sent: id, name and type.
    fn questions(&mut self) -> Vec<Message> {
        self.sent
            .drain(..)
            .map(|transmit| Message::from_vec(&transmit.payload).unwrap())
            .collect()
    }

    fn receive(&mut self, from: &str, message: &Message) {
        let mut payload = message.to_vec().unwrap();
        let datagram = Datagram::new(from.parse().unwrap(), &mut payload);
        self.call(|dns, cx| dns.received(cx, datagram).unwrap());
    }

    /// Answers a question.
    fn answer(&mut self, question: &Message, answers: Vec<Record>) {
        let answer = reply(question, answers);
        self.receive(SERVER, &answer);
    }

    fn advance(&mut self, by: Duration) {
        let to = self.now + by;
        while let Some(at) = self.dns.deadline().filter(|at| *at <= to) {
            self.now = self.now.max(at);
            self.call(|dns, cx| dns.timeout(cx).unwrap());
        }
        self.now = to;
    }

    fn found(&self) -> Vec<Found> {
        self.found.try_iter().collect()
    }
}

fn reply(question: &Message, answers: Vec<Record>) -> Message {
    let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    answer.queries = question.queries.clone();
    answer.answers = answers;
    answer
}

#[test]
fn both_families_and_the_cache() {
    let mut rig = Rig::new(|_| {});
    rig.ask("A.test");
    rig.ask("a.test");
    let questions = rig.questions();
    assert_eq!(questions.len(), 2, "one question for both who ask");
    assert_ne!(questions[0].metadata.id, questions[1].metadata.id);
    assert_eq!(questions[0].queries[0].query_type(), RecordType::AAAA);
    let six = RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    rig.answer(&questions[0], vec![Record::from_rdata(name("a.test."), 60, six)]);
    assert!(matches!(&rig.found()[..], [Found::Addresses(Family::V6, one), _] if one.len() == 1));
    rig.answer(&questions[1], vec![a("a.test.", 30, 1)]);
    assert_eq!(rig.found(), [v4(1), v4(1)]);
    rig.advance(Duration::from_secs(29));
    rig.ask("a.test");
    assert_eq!((rig.questions().len(), rig.found().len()), (0, 2));
    rig.advance(Duration::from_secs(2));
    rig.ask("a.test");
    assert_eq!(
        (rig.questions().len(), rig.found().len()),
        (1, 1),
        "the A record has expired"
    );
}

/// RFC 1034 section 3.6.2.
#[test]
fn aliases() {
    let mut rig = Rig::new(|_| {});
    rig.ask("a.test");
    let questions = rig.questions();
    let chain = vec![
        a("c.test.", 60, 3),
        alias("a.test.", 9, "b.test."),
        a("evil.test.", 60, 9),
        alias("b.test.", 60, "c.test."),
    ];
    rig.answer(&questions[1], chain);
    assert_eq!(rig.found(), [v4(3)]);
    // The server has not followed the alias.
    rig.answer(&questions[0], vec![alias("a.test.", 60, "b.test.")]);
    let next = rig.questions();
    assert_eq!(*next[0].queries[0].name(), name("b.test."));
    // An endless chain ends.
    let mut question = next[0].clone();
    for n in 0..20 {
        let from = question.queries[0].name().to_string();
        rig.answer(&question, vec![alias(&from, 60, &format!("x{n}.test."))]);
        match rig.questions().pop() {
            Some(next) => question = next,
            None => break,
        }
    }
    assert_eq!(rig.found(), [Found::Addresses(Family::V6, vec![])]);
    // A loop within one answer.
    rig.ask("loop.test");
    let questions = rig.questions();
    let looped = vec![alias("loop.test.", 60, "b.test."), alias("b.test.", 60, "loop.test.")];
    rig.answer(&questions[0], looped);
    assert!(rig.found().is_empty());
}

/// RFC 5452: what does not match is ignored, and the right answer still counts.
#[test]
fn spoofed_answers() {
    let mut rig = Rig::new(|_| {});
    rig.ask("a.test");
    let questions = rig.questions();
    let right = reply(&questions[1], vec![a("a.test.", 60, 1)]);
    rig.receive("192.0.2.99:53", &right);
    rig.receive("192.0.2.53:54", &right);
    let mut other = right.clone();
    other.metadata.id = right.metadata.id.wrapping_add(1);
    rig.receive(SERVER, &other);
    let mut other = right.clone();
    other.queries = vec![Query::query(name("b.test."), RecordType::A)];
    rig.receive(SERVER, &other);
    let mut other = right.clone();
    other.metadata.message_type = MessageType::Query;
    rig.receive(SERVER, &other);
    rig.call(|dns, cx| {
        dns.received(cx, Datagram::new(SERVER.parse().unwrap(), &mut [1, 2, 3]))
            .unwrap()
    });
    rig.call(|dns, cx| {
        dns.posted(cx, DnsMessage::Stream(right.metadata.id, Some(right.to_vec().unwrap())))
            .unwrap();
    });
    assert!(rig.found().is_empty());
    rig.receive(SERVER, &right);
    assert_eq!(rig.found(), [v4(1)]);
    rig.receive(SERVER, &right);
    assert!(rig.found().is_empty());
}

#[test]
fn silence_and_failures() {
    let mut rig = Rig::new(|config| config.servers.push("192.0.2.54:53".parse().unwrap()));
    rig.ask("a.test");
    let first = rig.questions();
    let mut refused = reply(&first[1], vec![]);
    refused.metadata.response_code = ResponseCode::ServFail;
    rig.receive(SERVER, &refused);
    let next: Vec<_> = rig.sent.iter().map(|transmit| transmit.to.to_string()).collect();
    assert_eq!(next, ["192.0.2.54:53"]);
    let again = rig.questions();
    assert_ne!(again[0].metadata.id, first[1].metadata.id);
    rig.receive("192.0.2.54:53", &reply(&again[0], vec![a("a.test.", 60, 1)]));
    assert_eq!(rig.found(), [v4(1)]);
    // AAAA is never answered: four questions in all, then the family counts as empty.
    rig.advance(Duration::from_secs(20));
    assert_eq!(rig.questions().len(), 3);
    assert_eq!(rig.found(), [Found::Addresses(Family::V6, vec![])]);
    rig.ask("b.test");
    rig.advance(Duration::from_secs(20));
    assert_eq!(rig.found(), [Found::Failed(ErrorKind::TimedOut)]);
    assert_eq!((rig.dns.questions.len(), rig.dns.lookups.len()), (0, 0));
}

/// The search list, and RFC 2308: an answer that there is nothing is kept as its SOA says.
#[test]
fn nothing_is_an_answer_too() {
    let mut rig = Rig::new(|config| config.search = vec!["x.test".into()]);
    rig.ask("host");
    for expected in ["host.x.test.", "host."] {
        for question in rig.questions() {
            assert_eq!(*question.queries[0].name(), name(expected));
            let mut none = reply(&question, vec![]);
            none.metadata.response_code = ResponseCode::NXDomain;
            let soa = SOA::new(name("ns.test."), name("me.test."), 1, 2, 3, 4, 60);
            none.authorities = vec![Record::from_rdata(name("test."), 3600, RData::SOA(soa))];
            rig.receive(SERVER, &none);
        }
    }
    assert_eq!(rig.found().len(), 2);
    rig.advance(Duration::from_secs(59));
    rig.ask("host");
    assert_eq!((rig.questions().len(), rig.found().len()), (0, 2));
    rig.advance(Duration::from_secs(2));
    rig.ask("host");
    assert_eq!(rig.questions().len(), 2);
}

/// RFC 1035 section 4.2.1: an answer that does not fit is asked for over TCP.
#[test]
fn truncation() {
    let mut rig = Rig::new(|_| {});
    rig.ask("a.test");
    let questions = rig.questions();
    let mut cut = reply(&questions[1], vec![]);
    cut.metadata.truncation = true;
    rig.receive(SERVER, &cut);
    let (id, question) = rig.streams.try_recv().unwrap();
    let question = Message::from_vec(&question).unwrap();
    let whole = reply(&question, vec![a("a.test.", 60, 1)]);
    rig.receive(SERVER, &whole);
    assert!(rig.found().is_empty(), "a datagram does not count any more");
    rig.call(|dns, cx| {
        dns.posted(cx, DnsMessage::Stream(id, Some(whole.to_vec().unwrap())))
            .unwrap()
    });
    assert_eq!(rig.found(), [v4(1)]);
}

#[test]
fn bounds() {
    let mut rig = Rig::new(|config| (config.lookups, config.cache) = (4, 1));
    for host in ["a.test", "b.test", "c.test"] {
        rig.ask(host);
    }
    assert_eq!(rig.found(), [Found::Failed(ErrorKind::ResourceBusy)]);
    for question in rig.questions() {
        let owner = question.queries[0].name().to_string();
        rig.answer(&question, vec![a(&owner, 60, 1)]);
    }
    assert!(rig.dns.cache.len() <= 1);
}
