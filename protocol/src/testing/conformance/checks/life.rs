//! The beginning and the end of connections.

use super::*;

pub(super) fn connected_is_first<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), echo());
    session.wire.send(b"hello");
    expect_bytes("the echo", &read(&mut *session.wire, 5), b"hello");
    let (trace, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
    expect("calls of connected", trace.count(|call| *call == Call::Connected), 1);
}

pub(super) fn a_greeting_is_sent_without_input<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Connected => cx.send(b"220 ready"),
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    expect_bytes("the greeting", &read(&mut *session.wire, 9), b"220 ready");
    finish(session);
}

pub(super) fn closed_when_the_connect_fails<D: Driver>(driver: &D) {
    let behaviour: Script = script(|_, _, _| Ok(())).into();
    let (probe, mut trace) = Probe::new(behaviour.0, false, false);
    driver.connect_to_nobody(move |_: &Peer<'_, u32>| probe);
    let reason = trace.end();
    ensure!(
        matches!(reason, Reason::Io(_)),
        "expected an error of the system, saw {reason:?}"
    );
    trace.check();
    expect("calls", trace.events.len(), 1);
}

pub(super) fn refused<D: Driver>(driver: &D) {
    let served = driver.serve(limits(), |_: &Peer<'_, u32>| None::<Probe>);
    let mut wire = connect(&*served);
    wire.send(b"?");
    let seen = wire.receive(PATIENCE);
    ensure!(
        matches!(seen, Received::Eof | Received::Reset),
        "expected a refused connection to end, saw {seen:?}"
    );
}

pub(super) fn closed_when_the_peer_resets<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), echo());
    session.wire.send(b"x");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.wire.reset();
    session.trace.end();
    session.trace.check();
}

pub(super) fn an_errors_reply_is_sent<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| match told {
            Told::Received(_) => {
                cx.send(b"400");
                Err(Failed)
            }
            _ => Ok(()),
        }),
    );
    session.wire.send(b"nonsense");
    session
        .trace
        .wait("the bytes", |call| matches!(call, Call::Received(_)));
    // Further input must neither reach the protocol nor cost the peer the reply.
    session.wire.send(&[0; 100_000]);
    expect_bytes("the reply", &read_to_eof(&mut *session.wire), b"400");
    // The peer does not close: the linger deadline must end the connection.
    session.wire.pass(Duration::from_millis(400));
    expect("the end", session.trace.end(), Reason::Error);
    session.trace.check();
}

pub(super) fn abort_resets<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            if let Told::Received(input) = told {
                input.take_all();
                cx.send(b"never sent");
                cx.abort();
            }
            Ok(())
        }),
    );
    session.wire.send(b"?");
    expect("an abort", session.wire.receive(PATIENCE), Received::Reset);
    expect("the end", session.trace.end(), Reason::Aborted);
    session.trace.check();
}

pub(super) fn shutdown_goes_on_reading<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    // The input may arrive in any pieces.
                    let last = input.take_all().ends_with(b"!");
                    if last {
                        cx.send(b"done");
                        cx.shutdown();
                    }
                }
                Told::Eof => cx.close(),
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"last!");
    expect_bytes("the last answer", &read_to_eof(&mut *session.wire), b"done");
    session.wire.send(b"more.");
    session.trace.wait(
        "input after shutdown",
        |call| matches!(call, Call::Received(bytes) if bytes.ends_with(b".")),
    );
    let (trace, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
    expect("calls of eof", trace.count(|call| *call == Call::Eof), 1);
}

pub(super) fn stop<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => input.consume(usize::MAX),
                Told::Stop => {
                    cx.send(b"going away");
                    cx.close();
                }
                _ => {}
            }
            Ok(())
        }),
    );
    session.wire.send(b"x");
    session.trace.wait("the byte", |call| matches!(call, Call::Received(_)));
    session.server.served.stop(LONG);
    expect_bytes("the last words", &read_to_eof(&mut *session.wire), b"going away");
    let (trace, reason) = finish(session);
    expect("the end", reason, Reason::Closed);
    expect("calls of stop", trace.count(|call| *call == Call::Stop), 1);
}

pub(super) fn dropped_after_the_end<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), echo());
    session.wire.send(b"x");
    expect_bytes("the echo", &read(&mut *session.wire, 1), b"x");
    session.wire.shutdown();
    expect_bytes("the end", &read_to_eof(&mut *session.wire), b"");
    session.trace.end();
    // The sender may keep a mailbox alive, but not the protocol.
    ensure!(
        session.trace.is_dropped(PATIENCE),
        "expected the protocol to be dropped after closed, saw it kept"
    );
}

pub(super) fn errors_of_every_call<D: Driver>(driver: &D) {
    for call in ["connected", "eof", "timeout", "message", "again", "flush", "stop"] {
        let mut session = session(
            driver,
            limits(),
            script(move |cx, deadline, told| {
                let fails = match told {
                    Told::Connected => {
                        if call == "again" {
                            cx.again();
                        } else if call == "timeout" {
                            *deadline = Some(cx.now() + Duration::from_millis(10));
                        }
                        call == "connected"
                    }
                    Told::Received(input) => {
                        input.take_all();
                        false
                    }
                    Told::Eof => call == "eof",
                    Told::Timeout => call == "timeout",
                    Told::Drained => false,
                    Told::Again => call == "again",
                    Told::Flush => call == "flush",
                    Told::Message(_) => call == "message",
                    Told::Stop => call == "stop",
                };
                if fails {
                    cx.send(b"sorry");
                    return Err(Failed);
                }
                Ok(())
            }),
        );
        match call {
            "eof" => session.wire.shutdown(),
            "message" => expect("a message", session.sender.send(1), Ok(())),
            "stop" => {
                session.trace.wait("connected", |call| *call == Call::Connected);
                session.server.served.stop(LONG);
            }
            _ => {}
        }
        expect_bytes(
            &format!("the reply to an error of {call}"),
            &read_to_eof(&mut *session.wire),
            b"sorry",
        );
        session.wire.send(b"more");
        let (_, reason) = finish(session);
        expect(&format!("the end after an error of {call}"), reason, Reason::Error);
    }
}
