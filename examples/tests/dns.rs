//! The DNS example with a server that ignores the first question.

use std::net::UdpSocket;
use std::process::Command;
use std::str::FromStr;
use std::thread;

use drivers::Driver;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record};

/// A server that knows one name, ignores the first question, and sends noise before each answer.
fn serve(socket: &UdpSocket, questions: usize) {
    let known = Name::from_str("known.example.").unwrap();
    let mut buffer = [0; 2000];
    for n in 0..questions {
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        if n == 0 {
            continue;
        }
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let mut answer = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        answer.add_query(question.queries[0].clone());
        if question.queries[0].name() == &known {
            for last in [1, 2] {
                let data = RData::A(A::new(192, 0, 2, last));
                answer.add_answer(Record::from_rdata(known.clone(), 60, data));
            }
        } else {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        socket.send_to(b"noise", from).unwrap();
        socket.send_to(&answer.to_vec().unwrap(), from).unwrap();
    }
}

#[test]
fn names_are_looked_up_and_lost_questions_asked_again() {
    for driver in Driver::ALL {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // Two questions, of which one is ignored and repeated.
        let serving = thread::spawn(move || serve(&socket, 3));
        let output = Command::new(env!("CARGO_BIN_EXE_dns"))
            .args(["--driver", driver.name(), "--server", &address.to_string()])
            .args(["known.example.", "unknown.example."])
            .output()
            .unwrap();
        serving.join().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        let expected = [
            "known.example. 192.0.2.1",
            "known.example. 192.0.2.2",
            "unknown.example. Non-Existent Domain",
        ];
        assert_eq!(lines, expected);
    }
}
