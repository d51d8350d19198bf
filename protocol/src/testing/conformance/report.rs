//! Failure messages of checks.

use core::any::Any;
use core::cell::Cell;
use core::fmt;

thread_local! {
    /// The rule being checked, and the check's name.
    static RULE: Cell<&'static str> = const { Cell::new("conformance") };
}

/// Sets the rule that this thread checks from now on.
pub(super) fn checks(rule: &'static str) {
    RULE.set(rule);
}

/// Panics with the rule, the expectation and the observation.
#[track_caller]
pub(super) fn fail(what: fmt::Arguments<'_>) -> ! {
    panic!("{}: {what}", RULE.get())
}

/// Fails the check, with a message like `format!`.
macro_rules! fail {
    ($($message:tt)*) => { $crate::testing::conformance::report::fail(format_args!($($message)*)) };
}

/// Fails the check unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)*) => { if !$holds { fail!($($message)*) } };
}

/// Fails the check unless `seen` equals `expected`.
#[track_caller]
pub(super) fn expect<S: PartialEq<E> + fmt::Debug, E: fmt::Debug>(what: &str, seen: S, expected: E) {
    ensure!(seen == expected, "{what}: expected {expected:?}, saw {seen:?}");
}

/// Fails the check unless `seen` equals `expected`; shortens the bytes in the message.
#[track_caller]
pub(super) fn expect_bytes(what: &str, seen: &[u8], expected: &[u8]) {
    if seen.len() < 100 && expected.len() < 100 {
        return expect(
            what,
            seen.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
        );
    }
    let differs = seen.iter().zip(expected).position(|(a, b)| a != b);
    ensure!(
        seen == expected,
        "{what}: expected {} bytes, saw {}; the first that differs: {differs:?}",
        expected.len(),
        seen.len()
    );
}

/// The message of a panic.
pub(super) fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message,
        (_, Some(message)) => message,
        _ => "a panic without a message",
    }
}
