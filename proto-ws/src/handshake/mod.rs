//! The opening handshake (RFC 6455 section 4) of both roles, for header fields from any source.
//!
//! A field is a `(&str, &[u8])`, name and value, as any HTTP parser returns it; `proto-http` is one such parser.
//! [`server::Response::write`] and [`client::Request::write`] write HTTP/1.1 heads.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use sha1::{Digest, Sha1};

pub mod client;
mod fields;
pub mod server;

pub use fields::{Extension, Extensions};

/// The constant of RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version of the protocol (section 4.1).
pub const VERSION: &str = "13";

/// A `Sec-WebSocket-Accept` value: a SHA-1 of 20 bytes in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accept([u8; 28]);

impl Accept {
    /// The value that answers `key` (section 4.2.2).
    pub fn new(key: &str) -> Self {
        let digest = Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize();
        let mut accept = [b'='; 28];
        // 20 bytes always make 28 characters.
        let written = STANDARD.encode_slice(digest, &mut accept);
        debug_assert_eq!(written, Ok(28));
        Accept(accept)
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A `Sec-WebSocket-Key` value: 16 random bytes in base64 (section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 24]);

impl Key {
    /// The key made from `nonce`, which must be random and used only once.
    pub fn new(nonce: [u8; 16]) -> Self {
        let mut key = [b'='; 24];
        // 16 bytes always make 24 characters.
        let written = STANDARD.encode_slice(nonce, &mut key);
        debug_assert_eq!(written, Ok(24));
        Key(key)
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether `value` is a key: base64 of 16 bytes. The last character may have unused bits set, because some clients draw
    /// 22 random characters instead of encoding 16 random bytes.
    pub fn is_valid(value: &str) -> bool {
        const LAX: GeneralPurpose = GeneralPurpose::new(
            &alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
        );
        value.len() == 24 && LAX.decode_slice(value, &mut [0; 18]) == Ok(16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_section_1_3() {
        let key = Key::new(*b"the sample nonce");
        assert_eq!(key.as_str(), "dGhlIHNhbXBsZSBub25jZQ==");
        assert!(Key::is_valid(key.as_str()));
        assert!(
            Key::is_valid("dGhlIHNhbXBsZSBub25jZR=="),
            "unused bits of the last character may be set"
        );
        assert_eq!(Accept::new(key.as_str()).as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZ!==",
            "AAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(!Key::is_valid(bad), "{bad}");
        }
    }
}
