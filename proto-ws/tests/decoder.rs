//! The decoder alone: details that the tests of whole connections cannot tell apart.

use proto_ws::{Decoder, Event, Kind, Limits, Message, Role, Violation};

/// The events that `decoder` reads from `bytes`.
fn events(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<String>, Violation> {
    let mut bytes = bytes.to_vec();
    let mut input = &mut bytes[..];
    let mut events = Vec::new();
    while let Some(event) = decoder.next(&mut input)? {
        events.push(format!("{event:?}"));
    }
    Ok(events)
}

fn client() -> Decoder {
    Decoder::new(Role::Client, Limits::default())
}

#[test]
fn compressed_messages_are_handed_out_as_they_are_where_they_may_come() {
    const MESSAGE: &[u8] = &[0x41, 3, 0xff, 0, 0xff, 0x80, 1, 0x7f];
    assert_eq!(events(&mut client(), MESSAGE), Err(Violation::ReservedBit));
    let compressed = |bytes, last| {
        let kind = Kind::Text;
        format!("{:?}", Event::Compressed { kind, bytes, last })
    };
    let expected = [compressed(&[0xff, 0, 0xff][..], false), compressed(&[0x7f], true)];
    assert_eq!(events(&mut client().compressed(), MESSAGE), Ok(expected.to_vec()));
    // RSV1 is allowed only in the first frame of a message, and never in control frames; RSV2 and RSV3 stay reserved.
    for wrong in [&[0x01, 0, 0xc0, 0][..], &[0xc9, 0], &[0xa1, 0], &[0x91, 0]] {
        assert_eq!(events(&mut client().compressed(), wrong), Err(Violation::ReservedBit));
    }
    // `compressed` keeps the role and the limits.
    assert_eq!(
        events(&mut client().compressed(), &[0x81, 0x80]),
        Err(Violation::Masked)
    );
    let mut limits = Limits::default();
    limits.message = 2;
    let mut narrow = Decoder::new(Role::Client, limits).compressed();
    assert_eq!(events(&mut narrow, MESSAGE), Err(Violation::MessageTooLong));
}

#[test]
fn a_message_is_under_way_from_its_first_frame_to_its_last() {
    let mut decoder = client();
    assert!(!decoder.is_inside_message());
    let whole = format!("{:?}", Event::Message(Message::Text("a")));
    assert_eq!(events(&mut decoder, &[0x81, 1, b'a']), Ok(vec![whole]));
    assert!(!decoder.is_inside_message());
    assert_eq!(events(&mut decoder, &[0x01, 1, b'a']).map(|events| events.len()), Ok(1));
    assert!(decoder.is_inside_message());
    // A control frame between the fragments changes nothing.
    assert_eq!(events(&mut decoder, &[0x89, 0]).map(|events| events.len()), Ok(1));
    assert!(decoder.is_inside_message());
    assert_eq!(events(&mut decoder, &[0x80, 0]).map(|events| events.len()), Ok(1));
    assert!(!decoder.is_inside_message());
}

#[test]
fn limits_are_met_exactly() {
    let mut limits = Limits::default();
    limits.frame = 4;
    limits.message = 6;
    let outcome = |bytes: &[u8]| events(&mut Decoder::new(Role::Client, limits), bytes).map(|events| events.len());
    // A message in one frame: complete, then its header only. Below, the first and the next frame of a fragmented message.
    assert_eq!(outcome(&[0x82, 4, 0, 0, 0, 0]), Ok(1));
    assert_eq!(outcome(&[0x82, 4]), Ok(0));
    assert_eq!(outcome(&[0x82, 5]), Err(Violation::FrameTooLong));
    assert_eq!(outcome(&[0x02, 4, 0]), Ok(1));
    assert_eq!(outcome(&[0x02, 5, 0]), Err(Violation::FrameTooLong));
    assert_eq!(outcome(&[0x02, 4, 0, 0, 0, 0, 0x80, 2, 0, 0]), Ok(2));
    assert_eq!(
        outcome(&[0x02, 4, 0, 0, 0, 0, 0x80, 3, 0, 0]),
        Err(Violation::MessageTooLong)
    );
    // If both limits are exceeded, the error names the frame limit.
    assert_eq!(outcome(&[0x82, 7]), Err(Violation::FrameTooLong));
    assert_eq!(outcome(&[0x02, 7]), Err(Violation::FrameTooLong));
    // A message limit below the frame limit.
    limits.message = 3;
    let outcome = |bytes: &[u8]| events(&mut Decoder::new(Role::Client, limits), bytes).map(|events| events.len());
    assert_eq!(outcome(&[0x82, 3, 0, 0, 0]), Ok(1));
    assert_eq!(outcome(&[0x82, 4]), Err(Violation::MessageTooLong));
    assert_eq!(outcome(&[0x02, 4]), Err(Violation::MessageTooLong));
}

#[test]
fn control_frames_have_125_bytes_at_most() {
    let ping = |length: u8| [&[0x89, length][..], &[7; 125]].concat();
    let whole = format!("{:?}", Event::Ping(&[7; 125]));
    assert_eq!(events(&mut client(), &ping(125)), Ok(vec![whole]));
    assert_eq!(events(&mut client(), &ping(126)), Err(Violation::ControlTooLong));
    assert_eq!(events(&mut client(), &ping(127)), Err(Violation::ControlTooLong));
}
