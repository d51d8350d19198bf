//! Shared by the tests that run on every driver.

use std::thread;
use std::time::{Duration, Instant};

/// Makes a test of each function for each driver: `epoll::name`, `tokio::name`.
#[allow(unused_macros, reason = "not every test file needs it")]
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

/// Makes a test of each function for each driver that is a host, the example driver among them: `epoll::name`, `tokio::name`,
/// `smol::name`. The functions take `&impl Host`.
#[allow(unused_macros, reason = "not every test file needs it")]
macro_rules! on_every_host {
    ($($name:ident: $body:ident;)*) => {
        #[cfg(target_os = "linux")]
        mod epoll {
            $(#[test] fn $name() { super::$body(&crate::hosts::On(drivers::Driver::Epoll)); })*
        }
        mod tokio {
            $(#[test] fn $name() { super::$body(&crate::hosts::On(drivers::Driver::Tokio)); })*
        }
        mod smol {
            $(#[test] fn $name() { super::$body(&crate::hosts::Smol); })*
        }
    };
}

/// Waits up to ten seconds until `holds` returns true, and panics with `what` otherwise.
#[allow(dead_code, reason = "not every test file needs it")]
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}
