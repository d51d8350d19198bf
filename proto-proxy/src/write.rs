//! Encodes headers.

use core::net::{IpAddr, Ipv6Addr};

use crate::block::{DATAGRAM, FIXED, INET, INET6, LOCAL, PROXY, SIGNATURE, STREAM, UNIX, UNSPEC, VERSION};
use crate::checksum::crc32c;
use crate::tlv::UNIQUE_ID_MAX;
use crate::{Addresses, Misuse, SslTlv, Tlv, Transport, kind};

/// Memory to write to, and the number of bytes written.
#[derive(Debug)]
struct Cursor<'b> {
    memory: &'b mut [u8],
    length: usize,
}

impl<'b> Cursor<'b> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
        let end = self.length.saturating_add(bytes.len());
        self.memory
            .get_mut(self.length..end)
            .ok_or(Misuse::NoSpace)?
            .copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    fn at(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.memory.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn written(self) -> &'b [u8] {
        self.memory.get(..self.length).unwrap_or_default()
    }

    fn decimal(&mut self, number: u16) -> Result<(), Misuse> {
        self.digits(u32::from(number), 10, 10_000)
    }

    /// Writes `number` without leading zeros. `place` is the value of the highest possible digit.
    fn digits(&mut self, number: u32, base: u32, mut place: u32) -> Result<(), Misuse> {
        while place > number && place > 1 {
            place /= base;
        }
        while place > 0 {
            let digit = char::from_digit(number / place % base, base).unwrap_or('0');
            self.put(&[u8::try_from(digit).unwrap_or(b'0')])?;
            place /= base;
        }
        Ok(())
    }

    /// Writes an address as section 2.1 requires: IPv6 only with hexadecimal groups, also for mapped IPv4.
    fn address(&mut self, address: IpAddr) -> Result<(), Misuse> {
        match address {
            IpAddr::V4(address) => {
                for (index, octet) in address.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.put(b".")?;
                    }
                    self.decimal(u16::from(octet))?;
                }
                Ok(())
            }
            IpAddr::V6(address) => self.ipv6(address),
        }
    }

    fn ipv6(&mut self, address: Ipv6Addr) -> Result<(), Misuse> {
        let groups = address.segments();
        let zeros = longest_zeros(&groups);
        let mut index = 0;
        while let Some(&group) = groups.get(index) {
            if zeros.contains(&index) {
                self.put(b"::")?;
                index = zeros.end;
                continue;
            }
            if index > 0 && index != zeros.end {
                self.put(b":")?;
            }
            self.digits(u32::from(group), 16, 0x1000)?;
            index += 1;
        }
        Ok(())
    }
}

/// The first of the longest runs of zeros, if it has more than one group (RFC 5952 section 4.2); otherwise an empty range at the start.
fn longest_zeros(groups: &[u16; 8]) -> core::ops::Range<usize> {
    let mut longest = 0..0;
    let mut run = 0;
    for (index, &group) in groups.iter().enumerate() {
        run = if group == 0 { run + 1 } else { 0 };
        if run > longest.len() && run > 1 {
            longest = index + 1 - run..index + 1;
        }
    }
    longest
}

/// Writes a version 1 header to the front of `memory`, and returns it. [`V1_MAX`](crate::V1_MAX) bytes always suffice.
///
/// Unspecified addresses become `PROXY UNKNOWN`, which some receivers refuse (proxy-protocol.txt section 2.1).
///
/// ```
/// use proto_proxy::{Addresses, V1_MAX, write_v1};
///
/// let addresses = Addresses::tcp("[2001:db8::1]:4242".parse()?, "[2001:db8::2]:443".parse()?);
/// let mut memory = [0; V1_MAX];
/// assert_eq!(write_v1(&mut memory, &addresses)?, b"PROXY TCP6 2001:db8::1 2001:db8::2 4242 443\r\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Misuse::NotInV1`] for anything but TCP over IP, [`Misuse::MixedFamilies`], [`Misuse::NoSpace`].
pub fn write_v1<'b>(memory: &'b mut [u8], addresses: &Addresses) -> Result<&'b [u8], Misuse> {
    let mut out = Cursor { memory, length: 0 };
    let (source, destination) = match addresses {
        Addresses::Unspecified => {
            out.put(b"PROXY UNKNOWN\r\n")?;
            return Ok(out.written());
        }
        Addresses::Ip {
            transport: Transport::Stream,
            source,
            destination,
        } => (source, destination),
        Addresses::Ip { .. } | Addresses::Unix { .. } => return Err(Misuse::NotInV1),
    };
    out.put(match (source.is_ipv4(), destination.is_ipv4()) {
        (true, true) => b"PROXY TCP4 ",
        (false, false) => b"PROXY TCP6 ",
        _ => return Err(Misuse::MixedFamilies),
    })?;
    for address in [source, destination] {
        out.address(address.ip())?;
        out.put(b" ")?;
    }
    out.decimal(source.port())?;
    out.put(b" ")?;
    out.decimal(destination.port())?;
    out.put(b"\r\n")?;
    Ok(out.written())
}

/// Writes a version 2 header, with TLVs if wanted.
///
/// ```
/// use proto_proxy::{Addresses, Header, HeaderWriter, Rules, Tlv};
///
/// let addresses = Addresses::tcp("192.0.2.1:4242".parse()?, "198.51.100.1:443".parse()?);
/// let mut memory = [0; 256];
/// let mut writer = HeaderWriter::proxy(&mut memory, &addresses)?;
/// writer.tlv(&Tlv::Authority("example.org"))?;
/// writer.tlv(&Tlv::Checksum(0))?; // reserves its place; `finish` computes it
/// let bytes = writer.finish();
///
/// let (header, length) = Header::parse(bytes, &Rules::DEFAULT)?.expect("a whole header");
/// assert_eq!((header.addresses(), header.authority()), (&addresses, Some("example.org")));
/// assert_eq!(length, bytes.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "the header is complete with `finish`"]
pub struct HeaderWriter<'b> {
    out: Cursor<'b>,
    /// The place of the checksum.
    checksum: Option<usize>,
}

impl<'b> HeaderWriter<'b> {
    /// Begins a header for a client's connection, at the front of `memory`. It needs 28 bytes for IPv4, 52 for IPv6, 232 for Unix sockets,
    /// and 3 plus the length of the value for each TLV.
    ///
    /// # Errors
    ///
    /// [`Misuse::MixedFamilies`], [`Misuse::NoSpace`].
    pub fn proxy(memory: &'b mut [u8], addresses: &Addresses) -> Result<Self, Misuse> {
        let family = match addresses {
            Addresses::Unspecified => UNSPEC,
            Addresses::Ip {
                transport,
                source,
                destination,
            } => match (source.is_ipv4(), destination.is_ipv4()) {
                (true, true) => INET | nibble(*transport),
                (false, false) => INET6 | nibble(*transport),
                _ => return Err(Misuse::MixedFamilies),
            },
            Addresses::Unix { transport, .. } => UNIX | nibble(*transport),
        };
        let mut writer = Self::begin(memory, PROXY, family)?;
        let out = &mut writer.out;
        match addresses {
            Addresses::Unspecified => {}
            Addresses::Ip {
                source, destination, ..
            } => {
                for address in [source, destination] {
                    match address.ip() {
                        IpAddr::V4(address) => out.put(&address.octets())?,
                        IpAddr::V6(address) => out.put(&address.octets())?,
                    }
                }
                out.put(&source.port().to_be_bytes())?;
                out.put(&destination.port().to_be_bytes())?;
            }
            Addresses::Unix {
                source, destination, ..
            } => {
                out.put(source.as_bytes())?;
                out.put(destination.as_bytes())?;
            }
        }
        Ok(writer)
    }

    /// Begins a header for the proxy's own connection, at the front of `memory`. It needs 16 bytes. Receivers ignore the TLVs of such a
    /// header, so add only padding.
    ///
    /// # Errors
    ///
    /// [`Misuse::NoSpace`].
    pub fn local(memory: &'b mut [u8]) -> Result<Self, Misuse> {
        Self::begin(memory, LOCAL, UNSPEC)
    }

    fn begin(memory: &'b mut [u8], command: u8, family: u8) -> Result<Self, Misuse> {
        let mut out = Cursor { memory, length: 0 };
        out.put(&SIGNATURE)?;
        out.put(&[VERSION | command, family, 0, 0])?;
        Ok(Self { out, checksum: None })
    }

    /// Adds a TLV.
    ///
    /// # Errors
    ///
    /// A [`Misuse`] if receivers would have to refuse the TLV, or if it does not fit. The header is unchanged then.
    pub fn tlv(&mut self, tlv: &Tlv<'_>) -> Result<(), Misuse> {
        let value = match tlv {
            Tlv::Alpn(value) | Tlv::Noop(value) => value,
            Tlv::UniqueId(value) if value.len() > UNIQUE_ID_MAX => return Err(Misuse::UniqueIdTooLong),
            Tlv::UniqueId(value) => value,
            Tlv::Authority(name) => name.as_bytes(),
            Tlv::Netns(name) if !name.is_ascii() => return Err(Misuse::NotAscii),
            Tlv::Netns(name) => name.as_bytes(),
            Tlv::Ssl(ssl) => ssl.as_bytes(),
            Tlv::Checksum(_) if self.checksum.is_some() => return Err(Misuse::ChecksumRepeated),
            Tlv::Checksum(_) => &[0; 4][..],
            Tlv::Other { kind, .. } if is_known(*kind) => return Err(Misuse::TypeHasVariant),
            Tlv::Other { value, .. } => value,
        };
        let start = self.out.length;
        self.all_or_nothing(|out| put_tlv(out, tlv.kind(), value))?;
        if matches!(tlv, Tlv::Checksum(_)) {
            self.checksum = Some(start + 3);
        }
        Ok(())
    }

    /// Adds the properties of the client's TLS connection: the bits of [`Ssl::client`](crate::Ssl::client), the result of verifying the
    /// client's certificate, and texts.
    ///
    /// # Errors
    ///
    /// See [`tlv`](Self::tlv).
    pub fn ssl(&mut self, client: u8, verify: u32, tlvs: &[SslTlv<'_>]) -> Result<(), Misuse> {
        let start = self.out.length;
        self.all_or_nothing(|out| {
            out.put(&[kind::SSL, 0, 0, client])?;
            out.put(&verify.to_be_bytes())?;
            for tlv in tlvs {
                let value = match tlv {
                    SslTlv::Version(text)
                    | SslTlv::Cipher(text)
                    | SslTlv::SignatureAlgorithm(text)
                    | SslTlv::KeyAlgorithm(text)
                        if !text.is_ascii() =>
                    {
                        return Err(Misuse::NotAscii);
                    }
                    SslTlv::Version(text)
                    | SslTlv::CommonName(text)
                    | SslTlv::Cipher(text)
                    | SslTlv::SignatureAlgorithm(text)
                    | SslTlv::KeyAlgorithm(text) => text.as_bytes(),
                    SslTlv::Other { kind, .. } if (kind::SSL_VERSION..=kind::SSL_KEY_ALGORITHM).contains(kind) => {
                        return Err(Misuse::TypeHasVariant);
                    }
                    SslTlv::Other { value, .. } => value,
                };
                put_tlv(out, tlv.kind(), value)?;
            }
            let length = u16::try_from(out.length - start - 3).map_err(|_| Misuse::TooLong)?;
            out.at(start + 1, &length.to_be_bytes());
            Ok(())
        })
    }

    /// Writes the length and the checksum, and returns the header: the bytes to send at once, before anything else (proxy-protocol.txt
    /// section 2).
    #[must_use]
    pub fn finish(mut self) -> &'b [u8] {
        // `all_or_nothing` ensures that the length fits in 16 bits.
        let length = u16::try_from(self.out.length - FIXED).unwrap_or(u16::MAX);
        self.out.at(FIXED - 2, &length.to_be_bytes());
        if let Some(at) = self.checksum {
            // The bytes of the checksum are still zeros.
            let sum = crc32c(&[self.out.memory.get(..self.out.length).unwrap_or_default()]);
            self.out.at(at, &sum.to_be_bytes());
        }
        self.out.written()
    }

    fn all_or_nothing(&mut self, write: impl FnOnce(&mut Cursor<'b>) -> Result<(), Misuse>) -> Result<(), Misuse> {
        let start = self.out.length;
        let result = write(&mut self.out).and_then(|()| {
            if self.out.length - FIXED > usize::from(u16::MAX) {
                return Err(Misuse::TooLong);
            }
            Ok(())
        });
        if result.is_err() {
            self.out.length = start;
        }
        result
    }
}

fn put_tlv(out: &mut Cursor<'_>, kind: u8, value: &[u8]) -> Result<(), Misuse> {
    let length = u16::try_from(value.len()).map_err(|_| Misuse::TooLong)?;
    let [high, low] = length.to_be_bytes();
    out.put(&[kind, high, low])?;
    out.put(value)
}

const fn nibble(transport: Transport) -> u8 {
    match transport {
        Transport::Stream => STREAM,
        Transport::Datagram => DATAGRAM,
    }
}

/// Whether the type has its own variant of [`Tlv`].
const fn is_known(kind: u8) -> bool {
    matches!(
        kind,
        kind::ALPN | kind::AUTHORITY | kind::CRC32C | kind::NOOP | kind::UNIQUE_ID | kind::SSL | kind::NETNS
    )
}
