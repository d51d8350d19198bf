//! Encodes commands into the caller's buffer, without allocating.

use crate::number::{Double, Header};
use crate::{Buffer, Misuse};
use proto_buffer::all_or_nothing;

/// Arguments of a command, including its name: strings, bytes and numbers, and slices, arrays, options and tuples of these, flattened in
/// order.
///
/// ```
/// use proto_resp::write_command;
///
/// let mut out = Vec::new();
/// write_command(&mut out, &("ZADD", "scores", [(1.5, "ada"), (2.0, "bob")]))?;
/// assert_eq!(out, b"*6\r\n$4\r\nZADD\r\n$6\r\nscores\r\n$3\r\n1.5\r\n$3\r\nada\r\n$1\r\n2\r\n$3\r\nbob\r\n");
/// # Ok::<(), proto_resp::Misuse>(())
/// ```
pub trait Arguments {
    /// The number of arguments.
    fn count(&self) -> usize;

    /// Writes the arguments: calls [`ArgumentWriter::bytes`] once for each.
    ///
    /// # Errors
    ///
    /// The error of the writer.
    fn write<B: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse>;
}

/// The output for [`Arguments`].
#[derive(Debug)]
pub struct ArgumentWriter<'a, B: ?Sized> {
    out: &'a mut B,
    count: u32,
    written: u32,
    class: Class,
}

impl<B: Buffer + ?Sized> ArgumentWriter<'_, B> {
    /// Writes one argument.
    ///
    /// # Errors
    ///
    /// [`Misuse::Count`] if it is more than [`Arguments::count`] has announced; [`Misuse::NoSpace`].
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Misuse> {
        self.head(bytes, bytes.len())?;
        Ok(self.out.put(bytes)?)
    }

    /// Writes the header of an argument of `len` bytes, of which `bytes` are given.
    #[inline]
    fn head(&mut self, bytes: &[u8], len: usize) -> Result<(), Misuse> {
        match self.written {
            0 => {
                if len == 0 {
                    return Err(Misuse::EmptyCommand);
                }
                self.class = Class::of(bytes);
                put_line(self.out, b'*', self.count as usize)?;
                put_line(self.out, b'$', len)?;
            }
            written if written >= self.count => return Err(Misuse::Count),
            written => {
                if written == 1 && self.class == Class::Client && bytes.eq_ignore_ascii_case(b"reply") {
                    self.class = Class::Unanswerable;
                }
                put_next_line(self.out, len)?;
            }
        }
        self.written += 1;
        Ok(())
    }
}

/// Writes a header. Short ones have a constant size, so that they need no call to copy memory.
#[inline]
fn put_line<B: Buffer + ?Sized>(out: &mut B, byte: u8, number: usize) -> Result<(), Misuse> {
    match number {
        0..10 => Ok(out.put(&[byte, b'0' + number as u8, b'\r', b'\n'])?),
        10..100 => Ok(out.put(&[byte, tens(number), ones(number), b'\r', b'\n'])?),
        _ => Ok(out.put(Header::new().line(byte, number as u64))?),
    }
}

/// Writes the CRLF of the previous argument and the header of the next.
#[inline]
fn put_next_line<B: Buffer + ?Sized>(out: &mut B, len: usize) -> Result<(), Misuse> {
    match len {
        0..10 => Ok(out.put(&[b'\r', b'\n', b'$', b'0' + len as u8, b'\r', b'\n'])?),
        10..100 => Ok(out.put(&[b'\r', b'\n', b'$', tens(len), ones(len), b'\r', b'\n'])?),
        _ => Ok(out.put(Header::new().next_line(b'$', len as u64))?),
    }
}

/// The tens digit of a number below 100.
#[inline]
const fn tens(number: usize) -> u8 {
    b'0' + (number / 10) as u8
}

#[inline]
const fn ones(number: usize) -> u8 {
    b'0' + (number % 10) as u8
}

/// How a command's replies are matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The command has one reply.
    One,
    /// The command has a confirmation for each argument.
    Subscribe(Channels),
    /// The command has a confirmation for each argument; without arguments, for each existing subscription.
    Unsubscribe(Channels),
    /// CLIENT: one reply, but CLIENT REPLY is unanswerable.
    Client,
    /// MULTI: later commands are queued.
    Multi,
    /// EXEC or DISCARD: the queue ends.
    Exec,
    /// The command would make replies impossible to match.
    Unanswerable,
}

/// The kinds of subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channels {
    Plain,
    Patterns,
    Sharded,
}

impl Class {
    /// Classifies a command by its name.
    #[inline]
    fn of(name: &[u8]) -> Self {
        // A check of length and first letter decides at once for most names.
        match (name.len(), name.first().map(u8::to_ascii_lowercase)) {
            (9..=12, Some(b's' | b'p' | b'u'))
            | (4..=7, Some(b'c' | b'h' | b'r' | b'm' | b's' | b'p'))
            | (4, Some(b'e'))
            | (7, Some(b'd')) => Self::special(name),
            _ => Class::One,
        }
    }

    fn special(name: &[u8]) -> Self {
        let names: &[(&[u8], Class)] = &[
            (b"subscribe", Class::Subscribe(Channels::Plain)),
            (b"psubscribe", Class::Subscribe(Channels::Patterns)),
            (b"ssubscribe", Class::Subscribe(Channels::Sharded)),
            (b"unsubscribe", Class::Unsubscribe(Channels::Plain)),
            (b"punsubscribe", Class::Unsubscribe(Channels::Patterns)),
            (b"sunsubscribe", Class::Unsubscribe(Channels::Sharded)),
            (b"client", Class::Client),
            (b"multi", Class::Multi),
            (b"exec", Class::Exec),
            (b"discard", Class::Exec),
            (b"hello", Class::Unanswerable),
            (b"reset", Class::Unanswerable),
            (b"monitor", Class::Unanswerable),
            (b"sync", Class::Unanswerable),
            (b"psync", Class::Unanswerable),
        ];
        let found = names.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        found.map_or(Class::One, |(_, class)| *class)
    }
}

/// Appends a command: an array of bulk strings.
///
/// # Errors
///
/// [`Misuse`], with nothing written: for a command without a name, for [`Arguments`] that write a number of arguments other than their
/// count, or without space in the buffer.
#[inline]
pub fn write_command<B: Buffer + ?Sized>(out: &mut B, arguments: &(impl Arguments + ?Sized)) -> Result<(), Misuse> {
    write(out, arguments, None).map(drop)
}

/// The result of writing a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) class: Class,
    /// The number of arguments after the name.
    pub(crate) arguments: u32,
}

/// Appends a command. With `payload`, the command has one more argument of that length, whose bytes and CRLF are not written.
#[inline]
pub(crate) fn write<B: Buffer + ?Sized>(
    out: &mut B,
    arguments: &(impl Arguments + ?Sized),
    payload: Option<usize>,
) -> Result<Written, Misuse> {
    let count = arguments.count() + usize::from(payload.is_some());
    let count = u32::try_from(count).map_err(|_| Misuse::TooLarge)?;
    if count == 0 {
        return Err(Misuse::EmptyCommand);
    }
    let mut class = Class::One;
    all_or_nothing(out, |out| {
        let mut writer = ArgumentWriter {
            out,
            count,
            written: 0,
            class,
        };
        arguments.write(&mut writer)?;
        if let Some(len) = payload {
            writer.head(b"", len)?;
        }
        if writer.written != count {
            return Err(Misuse::Count);
        }
        class = writer.class;
        if payload.is_none() {
            Ok(writer.out.put(b"\r\n")?)
        } else {
            Ok(())
        }
    })?;
    Ok(Written {
        class,
        arguments: count - 1,
    })
}

macro_rules! one {
    ($($(#[$cfg:meta])* $type:ty, $it:ident => $bytes:expr;)*) => {
        $(
            $(#[$cfg])*
            impl Arguments for $type {
                #[inline]
                fn count(&self) -> usize {
                    1
                }

                #[inline]
                fn write<B: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse> {
                    let $it = self;
                    out.bytes($bytes)
                }
            }
        )*
    };
}

one! {
    str, it => it.as_bytes();
    [u8], it => it;
    #[cfg(feature = "alloc")]
    alloc::string::String, it => it.as_bytes();
    #[cfg(feature = "alloc")]
    alloc::vec::Vec<u8>, it => it;
    #[cfg(feature = "alloc")]
    bytes::Bytes, it => it;
    #[cfg(feature = "alloc")]
    bytes::BytesMut, it => it;
    i16, it => Header::new().signed(i64::from(*it));
    i32, it => Header::new().signed(i64::from(*it));
    i64, it => Header::new().signed(*it);
    isize, it => Header::new().signed(*it as i64);
    u16, it => Header::new().unsigned(u64::from(*it));
    u32, it => Header::new().unsigned(u64::from(*it));
    u64, it => Header::new().unsigned(*it);
    usize, it => Header::new().unsigned(*it as u64);
    f64, it => Double::new(*it).as_bytes();
}

impl<const N: usize> Arguments for [u8; N] {
    #[inline]
    fn count(&self) -> usize {
        1
    }

    #[inline]
    fn write<B: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse> {
        out.bytes(self)
    }
}

macro_rules! many {
    ($([$($generics:tt)*] $type:ty;)*) => {
        $(
            impl<$($generics)*> Arguments for $type {
                #[inline]
                fn count(&self) -> usize {
                    self.iter().map(Arguments::count).sum()
                }

                #[inline]
                fn write<B: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse> {
                    self.iter().try_for_each(|argument| argument.write(out))
                }
            }
        )*
    };
}

many! {
    [T: Arguments] [T];
    [T: Arguments, const N: usize] [T; N];
    [T: Arguments] Option<T>;
}

#[cfg(feature = "alloc")]
many! {
    [T: Arguments] alloc::vec::Vec<T>;
}

impl<T: Arguments + ?Sized> Arguments for &T {
    #[inline]
    fn count(&self) -> usize {
        (**self).count()
    }

    #[inline]
    fn write<B: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse> {
        (**self).write(out)
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)*) => {
        $(
            #[allow(non_snake_case, reason = "the elements are called like their types")]
            impl<$($name: Arguments),+> Arguments for ($($name,)+) {
                #[inline]
                fn count(&self) -> usize {
                    let ($($name,)+) = self;
                    0 $(+ $name.count())+
                }

                #[inline]
                fn write<Out: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, Out>) -> Result<(), Misuse> {
                    let ($($name,)+) = self;
                    $($name.write(out)?;)+
                    Ok(())
                }
            }
        )*
    };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(arguments: &(impl Arguments + ?Sized)) -> Result<String, Misuse> {
        let mut out = b"before".to_vec();
        let result = write_command(&mut out, arguments);
        let text = String::from_utf8(out).unwrap();
        match result {
            Ok(()) => Ok(text.strip_prefix("before").unwrap().to_owned()),
            Err(misuse) => {
                assert_eq!(text, "before");
                Err(misuse)
            }
        }
    }

    #[test]
    fn headers_are_right_for_all_lengths() {
        for len in (1..=1001).step_by(7).chain([9, 10, 99, 100]) {
            let text = "x".repeat(len);
            let expected = format!("*2\r\n${len}\r\n{text}\r\n${len}\r\n{text}\r\n");
            assert_eq!(written(&(&text, &text)).unwrap(), expected);
            let many = vec!["x"; len];
            assert_eq!(
                written(&many).unwrap(),
                format!("*{len}\r\n{}", "$1\r\nx\r\n".repeat(len))
            );
        }
    }

    #[test]
    fn all_kinds_of_arguments() {
        assert_eq!(written("PING").unwrap(), "*1\r\n$4\r\nPING\r\n");
        assert_eq!(
            written(&("SET", b"k", vec![0x7au8], Some("EX"), 5u32, None::<&str>)).unwrap(),
            "*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nz\r\n$2\r\nEX\r\n$1\r\n5\r\n"
        );
        assert_eq!(
            written(&("DEL", &["a", "b"][..], [-1i64], vec![("c", 1.5)])).unwrap(),
            "*6\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n$2\r\n-1\r\n$1\r\nc\r\n$3\r\n1.5\r\n"
        );
        assert_eq!(written(&("GET", "")).unwrap(), "*2\r\n$3\r\nGET\r\n$0\r\n\r\n");
    }

    struct Liar(usize);

    impl Arguments for Liar {
        fn count(&self) -> usize {
            self.0
        }

        fn write<B: Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse> {
            out.bytes(b"GET")?;
            out.bytes(b"key")
        }
    }

    #[test]
    fn what_may_not_be_sent_leaves_nothing() {
        assert_eq!(written(""), Err(Misuse::EmptyCommand));
        assert_eq!(written(&[] as &[&str]), Err(Misuse::EmptyCommand));
        assert_eq!(written(&Liar(1)), Err(Misuse::Count));
        assert_eq!(written(&Liar(3)), Err(Misuse::Count));
        assert!(written(&Liar(2)).is_ok());
        let mut memory = [0; 20];
        let mut out = crate::SliceBuffer::new(&mut memory);
        write_command(&mut out, "PING").unwrap();
        assert_eq!(write_command(&mut out, "PING"), Err(Misuse::NoSpace));
        assert_eq!(out.as_slice(), b"*1\r\n$4\r\nPING\r\n");
    }

    #[test]
    fn commands_are_told_apart_by_name() {
        let class = |name: &str| write(&mut Vec::new(), &(name, "reply"), None).unwrap().class;
        assert_eq!(class("Subscribe"), Class::Subscribe(Channels::Plain));
        assert_eq!(class("SUNSUBSCRIBE"), Class::Unsubscribe(Channels::Sharded));
        for name in ["hello", "RESET", "Monitor", "sync", "PSYNC", "Client"] {
            assert_eq!(class(name), Class::Unanswerable, "{name}");
        }
        for name in ["GET", "SCARD", "EVAL", "DISCARDS", "CONFIG", "SUBSCRIBED", "RENAMENX"] {
            assert_eq!(class(name), Class::One, "{name}");
        }
        assert_eq!(class("Multi"), Class::Multi);
        assert_eq!([class("EXEC"), class("discard")], [Class::Exec; 2]);
        let list = write(&mut Vec::new(), &("CLIENT", "LIST"), None).unwrap().class;
        assert_eq!(list, Class::Client);
    }

    #[test]
    fn a_payload_follows_by_other_means() {
        let mut out = Vec::new();
        let written = write(&mut out, &("SET", "k"), Some(3)).unwrap();
        assert_eq!(
            (out.as_slice(), written.arguments),
            (&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\n"[..], 2)
        );
    }
}
