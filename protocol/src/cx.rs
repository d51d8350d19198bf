//! The requests that a protocol may make to its driver during a call.

use std::time::Instant;

use crate::{Limits, Output};

/// How strongly a protocol has asked for its connection to end. Of several requests, the strongest counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Intent {
    /// No end requested: the connection goes on.
    #[default]
    Continue,
    /// Half-close once the output is sent; go on reading. Later output is dropped.
    Shutdown,
    /// Send the output, half-close, then discard input until the peer closes or the linger deadline passes
    /// (RFC 9112 section 9.6), so that the last bytes are not lost to a reset.
    Close,
    /// Drop the output and reset the connection.
    Abort,
}

/// The requests of a protocol so far. The driver keeps them with the connection; three bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Control {
    /// The strongest end requested.
    pub intent: Intent,
    /// Whether reading is paused.
    pub paused: bool,
    /// Whether [`Protocol::again`](crate::Protocol::again) must be called.
    pub again: bool,
}

/// The context of one call: the time, the output, and the requests for the connection.
///
/// A context is plain data. Nothing takes effect before the method returns, so a layer can lend its inner protocol its own
/// `Cx` ([`layer`](Cx::layer)) and then inspect the requests in it.
#[derive(Debug)]
pub struct Cx<'a> {
    now: Instant,
    output: &'a mut Output,
    control: &'a mut Control,
    limits: &'a Limits,
    /// Bytes of output that wait below `output`.
    beneath: usize,
}

impl<'a> Cx<'a> {
    /// A context for one call at `now`, of a connection with these `limits`. If `output` holds more bytes than their
    /// high-water mark, the connection [`is_congested`](Cx::is_congested).
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

    /// The same context, with `beneath` bytes of output waiting below it.
    #[inline(always)]
    pub(crate) fn above(mut self, beneath: usize) -> Self {
        self.beneath = beneath;
        self
    }

    /// A context for an inner protocol with its own output and control. The inner protocol is congested when its output and
    /// the output that waits below it are together above the same high-water mark.
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

    /// The time of this call. It never runs backwards, and does not change within one turn of a driver's loop.
    #[inline]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The output of this connection; output that earlier calls left unsent stands first.
    #[inline]
    pub fn output(&mut self) -> &mut Output {
        self.output
    }

    /// Appends a copy of `bytes` to the output.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Whether more output waits than the high-water mark allows. A protocol with more output should then stop, and continue
    /// in [`drained`](crate::Protocol::drained).
    #[inline]
    pub fn is_congested(&self) -> bool {
        self.waiting() > self.limits.high_water
    }

    /// Bytes of output that wait: here, in the layers below, and on their way into the transport.
    #[inline]
    pub fn waiting(&self) -> usize {
        self.output.len() + self.beneath
    }

    /// Bytes of output above which the connection is [`is_congested`](Cx::is_congested).
    pub fn high_water(&self) -> usize {
        self.limits.high_water
    }

    /// The limits of the connection. A layer applies the same limits to its inner connection.
    #[inline]
    pub fn limits(&self) -> &Limits {
        self.limits
    }

    /// Asks for a call of [`again`](crate::Protocol::again) when other connections have had their turn. The driver reads no
    /// input before that call.
    #[inline]
    pub fn again(&mut self) {
        self.control.again = true;
    }

    /// Stops (`true`) or resumes (`false`) calls of [`received`](crate::Protocol::received). Input that arrives meanwhile is
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

    /// The strongest end requested so far.
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
