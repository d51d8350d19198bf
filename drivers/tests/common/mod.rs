//! What tests of every driver share.

use std::thread;
use std::time::{Duration, Instant};

/// Makes a test of each function for each driver: `epoll::name`, `tokio::name`.
macro_rules! on_every_driver {
    ($($name:ident: $body:ident;)*) => {
        #[cfg(target_os = "linux")]
        mod epoll {
            $(#[test] fn $name() { super::$body(drivers::Driver::Epoll); })*
        }
        mod tokio {
            $(#[test] fn $name() { super::$body(drivers::Driver::Tokio); })*
        }
    };
}

/// Waits until something holds.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}
