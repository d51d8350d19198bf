//! A protocol that does anything the contract allows, as a script of bytes says, and checks the numbered rules of the `protocol` crate.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use protocol::{Cx, Input, Intent, Limits, Protocol, Reason};

/// The state that the protocol and the test share.
#[derive(Debug, Default)]
pub(crate) struct World {
    /// What the protocol does in each call.
    script: Vec<u8>,
    pub(crate) connected: bool,
    /// The connection is over: only `closed` may follow.
    over: bool,
    pub(crate) closed: Option<Reason>,
    eof: bool,
    stopped: bool,
    pub(crate) paused: bool,
    pub(crate) congested: bool,
    intent: Intent,
    /// Bytes that have arrived, where the test knows; the next two are bytes shown and bytes consumed.
    pub(crate) arrived: Option<usize>,
    pub(crate) shown: usize,
    consumed: usize,
    /// Bytes that the protocol has appended to the output.
    pub(crate) appended: usize,
    /// The driver has half-closed: output appended from now on is dropped.
    pub(crate) fin: bool,
    /// The peer may be gone. When a send fails, congestion ends without a call to `drained`.
    pub(crate) leaving: bool,
    /// The protocol has half-closed.
    pub(crate) shut: bool,
    /// The number of messages delivered; each message is the number of those before it.
    pub(crate) told: u32,
    now: Option<Instant>,
    deadline: Option<Instant>,
    /// Where the script may panic; by default nowhere.
    pub(crate) panics: Panics,
    /// The next call of `deadline` panics.
    explosive: bool,
    /// The number of panics so far.
    pub(crate) panicked: u64,
    /// How often the protocol was dropped.
    pub(crate) dropped: u32,
}

/// The calls in which a protocol may panic.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Panics {
    /// In calls and in `deadline`, when the script says so.
    calls: bool,
    closed: bool,
    drop: bool,
}

impl Panics {
    pub(crate) fn from_bits(bits: u8) -> Self {
        Panics {
            calls: bits & 1 != 0,
            closed: bits & 2 != 0,
            drop: bits & 4 != 0,
        }
    }
}

/// Panics without running the panic hook: a fuzzer counts every panic that reaches the hook as a finding.
pub(crate) fn panic_quietly() -> ! {
    resume_unwind(Box::new("told to panic"))
}

/// The byte at position `at` of every stream.
pub(crate) fn byte(at: usize) -> u8 {
    (at ^ at >> 8) as u8
}

#[derive(Debug)]
pub(crate) struct Scripted(pub(crate) Arc<Mutex<World>>);

impl Scripted {
    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.0)
    }
}

/// Locks the shared state, even after a panic of one side.
pub(crate) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("told to fail")
    }
}

impl std::error::Error for Told {}

/// Small marks, so that the output often passes them.
pub(crate) fn limits() -> Limits {
    Limits::default().high_water(2000).max_output(20_000).max_input(9000)
}

impl World {
    /// A protocol that follows `script`, from its last byte to its first.
    pub(crate) fn new(script: Vec<u8>) -> Self {
        World {
            script,
            ..World::default()
        }
    }

    /// Checks rules 1, 2, 10 and 12 at the start of every call but `closed`.
    fn called(&mut self, cx: &Cx<'_>) {
        assert!(
            self.connected && !self.over && self.closed.is_none(),
            "called before `connected`, or after the end"
        );
        assert!(
            self.now.is_none_or(|before| before <= cx.now()),
            "the time went backwards"
        );
        self.now = Some(cx.now());
    }

    /// Panics when `told`, and counts it, so that the test knows how many panics must be contained.
    fn panic_if(&mut self, told: bool) {
        if told {
            self.over = true;
            self.panicked += 1;
            panic_quietly();
        }
    }

    /// Whether the protocol is over, closed or dropped.
    pub(crate) fn is_over(&self) -> bool {
        self.over || self.closed.is_some() || self.dropped > 0
    }

    /// Whether all bytes that were shown have been consumed.
    pub(crate) fn consumed_all(&self) -> bool {
        self.consumed == self.shown
    }

    /// Takes the next action of the script.
    fn act(&mut self, cx: &mut Cx<'_>, input: Option<&mut Input<'_>>) -> Result<(), Told> {
        let mut word = || self.script.pop().unwrap_or(0);
        let (what, how) = (word(), usize::from(word()));
        if let Some(input) = input {
            let part = input.len() * (how % 5) / 4;
            let part = if what & 64 == 0 {
                input.len()
            } else {
                part.min(input.len())
            };
            input.consume(part);
            self.consumed += part;
        }
        let send = match what % 16 {
            0..=5 => 0,
            6..=9 => how,
            10 => how * 16,
            _ => how * 3,
        };
        if send > 0 {
            let bytes: Vec<u8> = (self.appended..self.appended + send).map(byte).collect();
            if what & 16 == 0 {
                cx.send(&bytes);
            } else {
                cx.output().push(Bytes::from(bytes));
            }
            self.appended += send;
        }
        match (what >> 4, how % 8) {
            (1, 0) => cx.shutdown(),
            (2, 0) => cx.close(),
            (3, 0) => cx.abort(),
            (4 | 5, 0..3) => cx.pause(true),
            (6..=9, _) => cx.pause(false),
            (10 | 11, _) => self.deadline = Some(cx.now() + Duration::from_millis(how as u64 * 20)),
            (12, _) => self.deadline = None,
            _ => {}
        }
        self.paused = cx.paused();
        self.intent = cx.intent();
        // Rule 7.
        self.congested |= cx.output().len() > limits().high_water;
        self.shut |= self.intent == Intent::Shutdown;
        self.panic_if(self.panics.calls && what == 0xfe);
        self.explosive = what == 0xfd;
        let failed = what == 0xff;
        self.over = failed || self.intent >= Intent::Close;
        if failed { Err(Told) } else { Ok(()) }
    }
}

impl Protocol for Scripted {
    type Message = u32;
    type Error = Told;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.world();
        assert!(!world.connected, "`connected` was called twice");
        world.connected = true;
        world.called(cx);
        world.act(cx, None)
    }

    fn received(&mut self, cx: &mut Cx<'_>, input: &mut Input<'_>) -> Result<(), Told> {
        let mut world = self.world();
        world.called(cx);
        // Rules 3 and 5.
        let congested = world.congested && !world.leaving;
        assert!(!world.paused && !congested, "`received` while paused or congested");
        assert!(!input.is_empty(), "`received` with empty input");
        let shown = world.consumed..world.consumed + input.len();
        assert!(
            world.arrived.is_none_or(|arrived| shown.end <= arrived) && shown.end >= world.shown,
            "`received` shows too few or too many bytes"
        );
        assert!(
            input.as_slice().iter().copied().eq(shown.clone().map(byte)),
            "`received` shows other bytes than arrived"
        );
        world.shown = shown.end;
        world.act(cx, Some(input))
    }

    fn eof(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.world();
        world.called(cx);
        // Rule 8.
        assert!(!world.eof, "`eof` was called twice");
        assert!(
            world.arrived.is_none_or(|arrived| world.shown == arrived),
            "`eof` before all bytes were shown"
        );
        world.eof = true;
        world.act(cx, None)
    }

    fn deadline(&self) -> Option<Instant> {
        let mut world = self.world();
        let deadline = world.deadline;
        let told = world.panics.calls && world.explosive;
        world.panic_if(told);
        deadline
    }

    fn timeout(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.world();
        world.called(cx);
        // Rule 9.
        let deadline = world.deadline.take();
        assert!(
            deadline.is_some_and(|deadline| deadline <= cx.now()),
            "`timeout` before the deadline"
        );
        world.act(cx, None)
    }

    fn drained(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.world();
        world.called(cx);
        // Rule 7.
        assert!(world.congested, "`drained` without congestion");
        assert!(
            cx.output().len() <= limits().low_water,
            "`drained` above the low-water mark"
        );
        world.congested = false;
        world.act(cx, None)
    }

    fn posted(&mut self, cx: &mut Cx<'_>, number: u32) -> Result<(), Told> {
        let mut world = self.world();
        world.called(cx);
        // Rule 13.
        assert_eq!(number, world.told, "messages out of order");
        world.told += 1;
        world.act(cx, None)
    }

    fn stop(&mut self, cx: &mut Cx<'_>) -> Result<(), Told> {
        let mut world = self.world();
        world.called(cx);
        world.stopped = true;
        world.act(cx, None)
    }

    fn closed(&mut self, reason: Reason) {
        let mut world = self.world();
        assert!(world.closed.is_none(), "`closed` was called twice");
        world.closed = Some(reason);
        let told = world.panics.closed;
        world.panic_if(told);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        let mut world = self.world();
        world.dropped += 1;
        assert_eq!(world.dropped, 1, "dropped twice");
        let told = world.panics.drop;
        world.panic_if(told);
    }
}
