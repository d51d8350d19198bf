//! RESP commands: arrays of strings.

use core::mem::MaybeUninit;

use proto_resp::{ArgumentWriter, Arguments, CommandDecoder, Misuse, Rules};

use crate::buffer::{Out, bytes, holds, proto_buffer, proto_bytes, set, status};
use crate::error::{self, PROTO_EVENT, PROTO_MORE, PROTO_NULL};
use crate::resp::proto_resp_rules;

/// The arguments that C hands over; they were checked to be readable.
struct List<'a>(&'a [proto_bytes]);

impl Arguments for List<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn write<B: proto_resp::Buffer + ?Sized>(&self, out: &mut ArgumentWriter<'_, B>) -> Result<(), Misuse> {
        self.0.iter().try_for_each(|argument| {
            // SAFETY: the caller of `proto_resp_command_write` has promised it.
            out.bytes(unsafe { argument.get() }.unwrap_or_default())
        })
    }
}

/// Appends a command: an array of `count` strings, the first of which is its name.
///
/// The caller promises: `list` points to `count` strings, which are there; `out` owns its memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_command_write(
    list: *const proto_bytes,
    count: usize,
    out: *mut proto_buffer,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let Some(mut out) = Out::new(out) else {
            return PROTO_NULL;
        };
        if count > 0 && list.is_null() || count > isize::MAX as usize / size_of::<proto_bytes>() {
            return PROTO_NULL;
        }
        let list = if count == 0 {
            &[]
        } else {
            core::slice::from_raw_parts(list, count)
        };
        if list.iter().any(|argument| argument.get().is_none()) {
            return PROTO_NULL;
        }
        status(proto_resp::write_command(&mut out, &List(list)), error::resp_misuse)
    }
}

/// Decodes the commands that a server receives. Owns no memory. `proto_resp_commands_init` begins it.
#[repr(C)]
#[derive(Debug)]
pub struct proto_resp_commands {
    /// Not for programs.
    pub opaque: [MaybeUninit<u64>; 2],
}
holds!(proto_resp_commands, CommandDecoder);

/// Begins a decoder of commands.
///
/// The caller promises: `commands` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_commands_init(commands: *mut proto_resp_commands) -> i32 {
    // SAFETY: as promised.
    unsafe { proto_resp_commands::put(commands, CommandDecoder::new()) }
}

/// Takes the next command off `data`: writes up to `capacity` of its arguments, the name first, to `list`, and their number to
/// `count`; the arguments beyond `capacity` are not shown. The bytes lie in the input. An incomplete command stays in the input and is
/// not read twice. `PROTO_EVENT`, `PROTO_MORE`, or a violation: close the connection.
///
/// `rules` may be NULL: those of `proto_resp_rules_strict`.
///
/// The caller promises: `commands` was begun; `data` points to `length` bytes; `list` has room for `capacity` strings; `used` and `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn proto_resp_commands_next(
    commands: *mut proto_resp_commands,
    rules: *const proto_resp_rules,
    data: *const u8,
    length: usize,
    used: *mut usize,
    list: *mut proto_bytes,
    capacity: usize,
    count: *mut usize,
) -> i32 {
    // SAFETY: as promised.
    unsafe {
        let (Some(commands), Some(mut input)) = (proto_resp_commands::state(commands), bytes(data, length)) else {
            return PROTO_NULL;
        };
        if used.is_null() || count.is_null() || capacity > 0 && list.is_null() {
            return PROTO_NULL;
        }
        let next = match rules.as_ref() {
            None => commands.next(&Rules::DEFAULT, &mut input),
            Some(rules) => commands.next(&rules.rules(), &mut input),
        };
        set(used, length - input.len());
        match next {
            Ok(None) => PROTO_MORE,
            Err(violation) => error::resp_violation(violation),
            Ok(Some(command)) => {
                let all = core::iter::once(command.name()).chain(command.iter());
                for (place, argument) in all.take(capacity).enumerate() {
                    list.add(place).write(argument.into());
                }
                set(count, command.len() + 1);
                PROTO_EVENT
            }
        }
    }
}
