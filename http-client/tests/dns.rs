//! Names by DNS, over real sockets: a server that truncates every datagram, and answers over TCP.

mod common;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{Peer, clients, ok};
use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use http_client::dns::{DnsConfig, DnsResolver};
use http_client::{Error, wait};

fn answer(question: &[u8], whole: bool) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let query = &question.queries[0];
    let mut answer = Message::new(question.metadata.id, MessageType::Response, question.metadata.op_code);
    answer.queries = question.queries.clone();
    answer.metadata.truncation = !whole;
    if query.name().to_string() != "peer.test." {
        answer.metadata.response_code = ResponseCode::NXDomain;
    } else if whole && query.query_type() == RecordType::A {
        let address = RData::A(A::new(127, 0, 0, 1));
        answer.answers = vec![Record::from_rdata(query.name().clone(), 60, address)];
    }
    answer.to_vec().unwrap()
}

#[test]
fn a_client_asks_a_server() {
    let stream = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = stream.local_addr().unwrap();
    let socket = UdpSocket::bind(server).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            count.fetch_add(1, Ordering::Relaxed);
            socket.send_to(&answer(&buffer[..n], false), from).unwrap();
        }
    });
    thread::spawn(move || {
        for connection in stream.incoming() {
            let mut connection = connection.unwrap();
            let mut length = [0; 2];
            connection.read_exact(&mut length).unwrap();
            let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
            connection.read_exact(&mut question).unwrap();
            let answer = answer(&question, true);
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            connection.write_all(&[&length[..], &answer].concat()).unwrap();
        }
    });
    let resolver = Arc::new(DnsResolver::start(DnsConfig::new(vec![server])).unwrap());
    let peer = Peer::start(|arrived| ok(&arrived.fields["host"]));
    let port = peer.address.port();
    for (driver, client) in clients(|settings| settings.resolver = Some(Arc::clone(&resolver) as _)) {
        let mut found = wait(client.get(format!("http://peer.test:{port}/")).send()).unwrap();
        assert_eq!(wait(found.text()).unwrap(), format!("peer.test:{port}"), "{driver}");
        let unknown = wait(client.get("http://other.test/").send()).unwrap_err();
        assert!(matches!(unknown, Error::Resolve { .. }), "{driver} {unknown:?}");
    }
    // The second client found the A record in the cache; negative answers without a SOA, and truncated ones, are not kept.
    assert!(asked.load(Ordering::Relaxed) >= 5);
}
