//! What connections of both roles have.

/// Methods of both roles.
macro_rules! both_roles {
    ($connection:ident) => {
        impl $connection {
            /// Sends content of a message whose head was sent, as much as the windows allow, and ends the message with it if `end` and all
            /// was taken. Returns how many bytes it took; the rest is to be sent when a window has grown.
            ///
            /// # Errors
            ///
            /// [`Misuse`], with nothing written.
            #[inline]
            pub fn send_data<B: Buffer>(
                &mut self,
                stream: u32,
                data: &[u8],
                end: bool,
                limits: &Limits,
                out: &mut B,
            ) -> Result<usize, Misuse> {
                self.core.send_data(stream, data, end, limits, out)
            }

            /// Announces up to `length` bytes of content in one frame, which the caller appends next: for content that is not copied.
            /// Returns how many, and whether they are to be appended or dropped.
            ///
            /// # Errors
            ///
            /// [`Misuse`], with nothing written.
            pub fn begin_data<B: Buffer>(
                &mut self,
                stream: u32,
                length: usize,
                out: &mut B,
            ) -> Result<(usize, bool), Misuse> {
                self.core.begin_data(stream, length, false, out)
            }

            /// Ends a message, with trailer fields if there are any.
            ///
            /// # Errors
            ///
            /// [`Misuse`], with nothing written; [`Misuse::BodyTooShort`] where less content was sent than announced.
            pub fn finish<B: Buffer>(
                &mut self,
                stream: u32,
                trailers: &(impl FieldLines + ?Sized),
                limits: &Limits,
                out: &mut B,
            ) -> Result<(), Misuse> {
                self.core.finish(stream, trailers, limits, out)
            }

            /// Bytes of content that may be sent on `stream` now.
            #[must_use]
            pub fn capacity(&self, stream: u32) -> usize {
                self.core.capacity(stream)
            }

            /// Says that `bytes` of the content of `stream` were used, so that the peer may send as much again. Content of a stream that has
            /// ended needs no such call.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn consume<B: Buffer>(
                &mut self,
                stream: u32,
                bytes: usize,
                limits: &Limits,
                out: &mut B,
            ) -> Result<(), Misuse> {
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                self.core.consume(stream, bytes, limits, out)
            }

            /// Ends a stream with RST_STREAM. Does nothing where it is closed.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn reset<B: Buffer>(
                &mut self,
                stream: u32,
                code: ErrorCode,
                limits: &Limits,
                out: &mut B,
            ) -> Result<(), Misuse> {
                self.core.reset(stream, code, limits, out)
            }

            /// Sends a PING, whose answer is an event.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn ping<B: Buffer>(&mut self, payload: u64, out: &mut B) -> Result<(), Misuse> {
                self.core.ping(payload, out)
            }

            /// Begins to go away (RFC 9113 section 6.8): the peer is told to open no more streams. Those that it has opened before it knew
            /// are still served. A PING follows; when its answer has come, the last stream is named.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn shutdown<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
                self.core.shutdown(out)
            }

            /// Goes away at once: names the last stream that is served, with `code`. Later ones are ignored.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn goaway<B: Buffer>(&mut self, code: ErrorCode, out: &mut B) -> Result<(), Misuse> {
                self.core.goaway_with(code, out)
            }

            /// Whether [`shutdown`](Self::shutdown) or [`goaway`](Self::goaway) was called.
            #[must_use]
            pub fn is_shutting_down(&self) -> bool {
                self.core.is_shutting_down()
            }

            /// Whether the connection is to be closed: it has failed, or goes away and every stream has ended.
            #[must_use]
            pub fn is_over(&self) -> bool {
                self.core.is_over()
            }

            /// Streams that are open or half-closed.
            #[must_use]
            pub fn streams(&self) -> usize {
                self.core.streams.len() as usize
            }

            /// Whether `stream` is open or half-closed.
            #[must_use]
            pub fn is_open(&self, stream: u32) -> bool {
                self.core.streams.slot(stream).is_some()
            }

            /// A small number that belongs to an open stream as long as it is open, for tables beside the connection.
            #[must_use]
            pub fn slot(&self, stream: u32) -> Option<usize> {
                self.core.streams.slot(stream)
            }

            /// Whether the peer's preface and settings have come.
            #[must_use]
            pub fn has_begun(&self) -> bool {
                self.core.has_begun()
            }

            /// Whether our settings were not acknowledged yet: after a while, a peer that does not has broken the protocol (RFC 9113 section
            /// 6.5.3); [`fail_settings`](Self::fail_settings) says so.
            #[must_use]
            pub fn awaits_settings(&self) -> bool {
                self.core.awaits_ack()
            }

            /// Ends the connection, for our settings were not acknowledged in time.
            pub fn fail_settings<B: Buffer>(&mut self, out: &mut B) -> Violation {
                self.core.fail(crate::ViolationKind::SettingsTimeout, 0, out)
            }

            /// Whether a DATA frame or a header block has begun and is not complete.
            #[must_use]
            pub fn is_inside(&self) -> bool {
                self.core.is_inside()
            }

            /// Gives `points` of [`Limits::budget`] back to the peer, as time passes: without this, PINGs that keep a connection open add
            /// up. A point for each 100 ms is right.
            #[inline]
            pub fn replenish(&mut self, points: u32) {
                self.core.earn(points);
            }

            /// Points of [`Limits::budget`] that the peer has spent.
            #[inline]
            #[must_use]
            pub fn spent(&self) -> u32 {
                self.core.spent()
            }

            /// Gives memory back that only a connection with streams needs. For a connection that has been idle for a while.
            pub fn give_back(&mut self) {
                self.core.give_back();
            }
        }
    };
}

pub(crate) use both_roles;
