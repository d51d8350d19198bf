//! How connections begin and end.

use super::*;

pub(super) fn connected_is_first<D: Driver>(driver: &D) {
    let mut session = session(driver, limits(), echo());
    session.wire.send(b"hello");
    assert_eq!(read(&mut *session.wire, 5), b"hello");
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Connected), 1);
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
    assert_eq!(read(&mut *session.wire, 9), b"220 ready");
    finish(session);
}

pub(super) fn closed_when_the_connect_fails<D: Driver>(driver: &D) {
    let behaviour: Script = script(|_, _, _| Ok(())).into();
    let (probe, mut trace) = Probe::new(behaviour.0, false);
    driver.connect_to_nobody(move |_: &Peer<'_, u32>| probe);
    assert!(matches!(trace.end(), Reason::Io(_)), "{trace:?}");
    trace.check();
    assert_eq!(trace.events.len(), 1);
}

pub(super) fn refused<D: Driver>(driver: &D) {
    let served = driver.serve(limits(), |_: &Peer<'_, u32>| None::<Probe>);
    let mut wire = served.connect();
    wire.send(b"?");
    let seen = wire.receive(PATIENCE);
    assert!(
        matches!(seen, Received::Eof | Received::Reset),
        "a refused connection saw {seen:?}"
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
    // More input must neither be seen by the protocol nor cost the peer the reply.
    session.wire.send(&[0; 100_000]);
    assert_eq!(read_to_eof(&mut *session.wire), b"400");
    // The peer does not close: the linger deadline ends it.
    session.wire.pass(Duration::from_millis(400));
    assert_eq!(session.trace.end(), Reason::Error);
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
    assert_eq!(session.wire.receive(PATIENCE), Received::Reset);
    assert_eq!(session.trace.end(), Reason::Aborted);
    session.trace.check();
}

pub(super) fn shutdown_goes_on_reading<D: Driver>(driver: &D) {
    let mut session = session(
        driver,
        limits(),
        script(|cx, _, told| {
            match told {
                Told::Received(input) => {
                    // However it is cut.
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
    assert_eq!(read_to_eof(&mut *session.wire), b"done");
    session.wire.send(b"more.");
    session.trace.wait(
        "input after shutdown",
        |call| matches!(call, Call::Received(bytes) if bytes.ends_with(b".")),
    );
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Eof), 1);
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
    session.served.stop();
    assert_eq!(read_to_eof(&mut *session.wire), b"going away");
    let (trace, reason) = finish(session);
    assert_eq!(reason, Reason::Closed);
    assert_eq!(trace.count(|call| *call == Call::Stop), 1);
}
