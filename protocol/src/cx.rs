//! What a protocol may ask of its driver during a call.

use std::time::Instant;

use crate::{Limits, Output};

/// How strongly a protocol has asked for its connection to end. Asking twice keeps the stronger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// Nothing asked: the connection goes on.
    #[default]
    Continue,
    /// Half-close once the output is sent; go on reading. What is written later is dropped.
    Shutdown,
    /// Send the output, half-close, then discard input until the peer closes or the linger deadline passes
    /// (RFC 9112 section 9.6), so that the last bytes are not lost to a reset.
    Close,
    /// Drop the output and reset the connection.
    Abort,
}

/// What a protocol has asked for so far. Kept by the driver with the connection; three bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// The strongest end asked for.
    pub intent: Intent,
    /// Whether reading is paused.
    pub paused: bool,
    /// Whether [`Protocol::again`](crate::Protocol::again) is to be called.
    pub again: bool,
}

/// The context of one call: the time, the output, and what to do with the connection.
///
/// Everything here is plain data. Nothing has an effect before the method returns, so a layer can lend its inner protocol
/// a `Cx` of its own ([`layer`](Cx::layer)) and look at what was left in it.
#[derive(Debug)]
pub struct Cx<'a> {
    now: Instant,
    output: &'a mut Output,
    control: &'a mut Control,
    limits: &'a Limits,
    /// Bytes of output that wait beneath `output`.
    beneath: usize,
}

impl<'a> Cx<'a> {
    /// A context for one call at `now`, of a connection that is held to `limits`. More bytes in `output` than their
    /// high-water mark make it [`is_congested`](Cx::is_congested).
    #[inline]
    pub fn new(now: Instant, output: &'a mut Output, control: &'a mut Control, limits: &'a Limits) -> Self {
        Cx {
            now,
            output,
            control,
            limits,
            beneath: 0,
        }
    }

    /// The same context above `beneath` bytes of output that wait already.
    #[inline(always)]
    pub(crate) fn above(mut self, beneath: usize) -> Self {
        self.beneath = beneath;
        self
    }

    /// A context for an inner protocol with an output and a control of its own. The inner protocol is congested when its
    /// output, and what waits beneath, are together above the same high-water mark.
    ///
    /// ```
    /// # use std::time::Instant;
    /// use protocol::{Control, Cx, Limits, Output};
    ///
    /// fn call(cx: &mut Cx<'_>) {
    ///     let (mut plaintext, mut control) = (Output::new(), Control::default());
    ///     let inner = cx.layer(&mut plaintext, &mut control);
    ///     assert!(inner.is_congested());
    /// }
    /// # let (mut output, mut control) = (Output::new(), Control::default());
    /// # output.extend_from_slice(b"eleven bytes");
    /// # call(&mut Cx::new(Instant::now(), &mut output, &mut control, &Limits::default().high_water(10)));
    /// ```
    pub fn layer<'b>(&'b self, output: &'b mut Output, control: &'b mut Control) -> Cx<'b> {
        Cx::new(self.now, output, control, self.limits).above(self.waiting())
    }

    /// The time of this call. It never runs backwards; within one turn of a driver's loop it stands still.
    #[inline]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The output of this connection, with what an earlier call left unsent in front.
    #[inline]
    pub fn output(&mut self) -> &mut Output {
        self.output
    }

    /// Appends a copy of `bytes` to the output.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Whether more output waits than the high-water mark allows. A protocol with more to say stops then and goes on in
    /// [`drained`](crate::Protocol::drained).
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.waiting() > self.limits.high_water
    }

    /// Bytes of output that wait: here, in the layers beneath, and on their way into the transport.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.output.len() + self.beneath
    }

    /// Bytes of output above which the connection is [`is_congested`](Cx::is_congested).
    pub fn high_water(&self) -> usize {
        self.limits.high_water
    }

    /// What the connection may hold. A layer holds its inner connection to the same.
    #[inline]
    pub fn limits(&self) -> &Limits {
        self.limits
    }

    /// Asks for a call of [`again`](crate::Protocol::again) when other connections have had their turn. Input is not read
    /// before.
    #[inline]
    pub fn again(&mut self) {
        self.control.again = true;
    }

    /// Stops (`true`) or resumes (`false`) calls of [`received`](crate::Protocol::received). What has come meanwhile is
    /// delivered when reading resumes.
    #[inline]
    pub fn pause(&mut self, pause: bool) {
        self.control.paused = pause;
    }

    /// Asks to half-close once the output is sent, and to go on reading.
    #[inline]
    pub fn shutdown(&mut self) {
        self.ask(Intent::Shutdown);
    }

    /// Asks to send the output, half-close, and wait for the peer to close. Only
    /// [`closed`](crate::Protocol::closed) is called after this.
    #[inline]
    pub fn close(&mut self) {
        self.ask(Intent::Close);
    }

    /// Asks to drop the output and reset the connection. Only [`closed`](crate::Protocol::closed) is called after this.
    #[inline]
    pub fn abort(&mut self) {
        self.ask(Intent::Abort);
    }

    /// The strongest end that was asked for so far.
    #[inline]
    pub fn intent(&self) -> Intent {
        self.control.intent
    }

    /// Whether reading is paused.
    #[inline]
    pub fn paused(&self) -> bool {
        self.control.paused
    }

    fn ask(&mut self, intent: Intent) {
        self.control.intent = self.control.intent.max(intent);
    }
}
