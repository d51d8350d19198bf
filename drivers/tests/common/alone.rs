//! Runs suites at the same time, each in a process of its own: the conformance suite takes every descriptor of its process, watches the
//! process's threads, and mostly waits.

use std::process::Command;
use std::sync::Mutex;
use std::thread;

/// Processes at the same time.
const PROCESSES: usize = 6;

/// Runs all ignored tests of this program.
///
/// # Panics
///
/// If a test fails: once, after all, with what the failed tests have printed.
pub(crate) fn run_ignored_tests() {
    let program = std::env::current_exe().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new(&program).args(arguments).output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&printed).into_owned())
    };
    let (_, listed) = run(&["--list", "--ignored", "--format", "terse"]);
    let names: Vec<_> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(!names.is_empty(), "no ignored tests: {listed}");
    let (waiting, failed) = (Mutex::new(names), Mutex::new(String::new()));
    thread::scope(|scope| {
        for _ in 0..PROCESSES {
            scope.spawn(|| {
                loop {
                    let Some(name) = waiting.lock().unwrap().pop() else {
                        return;
                    };
                    let (succeeded, printed) = run(&["--ignored", "--exact", name]);
                    if succeeded {
                        println!("{name} has passed");
                    } else {
                        failed.lock().unwrap().push_str(&printed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed}");
}

/// Names suites, each of which is an ignored test.
macro_rules! suites {
    ($($(#[$attribute:meta])* $name:ident: $suite:expr;)*) => {
        $(
            $(#[$attribute])*
            #[test]
            #[ignore = "run by `all_suites`, in a process of its own"]
            fn $name() {
                $suite
            }
        )*

        #[test]
        fn all_suites() {
            alone::run_ignored_tests();
        }
    };
}
