//! What a hostile or mistaken sender may try; each test is named by its attack.

use proto_proxy::{Decoder, Header, HeaderWriter, Rules, Ssl, Tlv, V1_MAX, ViolationKind};

fn refused(bytes: &[u8]) -> (ViolationKind, usize) {
    let violation = Header::parse(bytes, &Rules::DEFAULT).unwrap_err();
    (violation.kind(), violation.offset())
}

#[test]
fn p01_a_client_without_a_header_is_refused_by_its_first_bytes() {
    for method in [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "PRI",
    ] {
        let (kind, offset) = refused(method.as_bytes());
        assert_eq!(kind, ViolationKind::Signature, "{method}");
        assert!(
            offset < method.len().min(4),
            "{method} is refused only at byte {offset}"
        );
    }
    // Empty lines before a request, which HTTP permits (RFC 9112 section 2.2), look like version 2 for four bytes.
    assert_eq!(refused(b"\r\n\r\nG"), (ViolationKind::Signature, 4));
}

#[test]
fn p02_a_header_without_end_is_refused_at_its_limit() {
    let mut decoder = Decoder::new(Rules::DEFAULT);
    let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 1000]].concat();
    let refused = (0..endless.len()).find(|&end| decoder.next(&mut &endless[..end]).is_err());
    assert_eq!(refused, Some(V1_MAX - 1));
    // Version 2 announces its length first: a length above the limit is refused before any of it is kept.
    let claims = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff";
    assert_eq!(refused_at(claims), 14);
}

fn refused_at(bytes: &[u8]) -> usize {
    refused(bytes).1
}

#[test]
fn p03_a_second_line_cannot_be_smuggled_in() {
    for line in [
        "PROXY UNKNOWN 1\nPROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY UNKNOWN\nGET / HTTP/1.1\r\n",
        "PROXY UNKNOWN 1\rGET / HTTP/1.1\r\n",
    ] {
        let (kind, _) = refused(line.as_bytes());
        assert!(
            matches!(kind, ViolationKind::BareLf | ViolationKind::BareCr),
            "{line:?}"
        );
    }
}

#[test]
fn p04_a_tlv_reaches_nothing_behind_the_header() {
    // The secret follows a TLV whose length claims to include it.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02\x05\0\x06SECRET";
    assert_eq!(refused(header), (ViolationKind::Tlv, 28));
}

#[test]
fn p05_a_tlv_about_tls_reaches_nothing_behind_itself() {
    let mut memory = [0; 128];
    let addresses = proto_proxy::Addresses::Unspecified;
    let mut writer = HeaderWriter::proxy(&mut memory, &addresses).unwrap();
    writer.ssl(Ssl::TLS, 0, &[]).unwrap();
    writer.tlv(&Tlv::UniqueId(b"SECRET")).unwrap();
    let mut bytes = writer.finish().to_vec();
    assert!(Header::parse(&bytes, &Rules::DEFAULT).unwrap().is_some());
    // Behind the five bytes, a nested TLV claims the bytes that follow.
    bytes[18] += 3;
    let length = bytes.len();
    bytes.splice(24..24, [0x21, 0, 9]);
    bytes[15] += 3;
    assert_eq!(bytes.len(), length + 3);
    assert_eq!(refused(&bytes), (ViolationKind::Ssl, 16));
}

#[test]
fn p06_a_missing_certificate_is_not_a_verified_one() {
    for (client, verified) in [
        (0, false),
        (1, false),
        (2, false),
        (3, true),
        (5, true),
        (7, true),
        (0xf9, false),
    ] {
        let mut memory = [0; 64];
        let mut writer = HeaderWriter::proxy(&mut memory, &proto_proxy::Addresses::Unspecified).unwrap();
        writer.ssl(client, 0, &[]).unwrap();
        let (header, _) = Header::parse(writer.finish(), &Rules::DEFAULT).unwrap().unwrap();
        assert_eq!(header.ssl().unwrap().has_verified_certificate(), verified, "{client}");
    }
    let mut memory = [0; 64];
    let mut writer = HeaderWriter::proxy(&mut memory, &proto_proxy::Addresses::Unspecified).unwrap();
    writer.ssl(7, 18, &[]).unwrap();
    let (header, _) = Header::parse(writer.finish(), &Rules::DEFAULT).unwrap().unwrap();
    assert!(!header.ssl().unwrap().has_verified_certificate());
}

#[test]
fn a_decoder_is_small() {
    let size = size_of::<Decoder>();
    assert!(size <= 160, "{size} bytes");
}
