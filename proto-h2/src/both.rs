//! Methods that connections of both roles share.

/// Defines the methods of both roles.
macro_rules! both_roles {
    ($connection:ident) => {
        impl $connection {
            /// Sends content of a message whose head was sent, as much as the flow-control windows allow. With `end`, the message ends once
            /// all of `data` was taken. Returns how many bytes were taken; send the rest when a window has grown.
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

            /// Writes the head of a DATA frame for up to `length` bytes of content, which the caller appends next: for content that is not
            /// copied. Returns the number of bytes announced, and whether the caller must append them (`true`) or drop them.
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

            /// Returns how many bytes of content may be sent on `stream` now.
            #[must_use]
            pub fn capacity(&self, stream: u32) -> usize {
                self.core.capacity(stream)
            }

            /// Reports that the caller has used `bytes` of the content of `stream`, so that the peer may send as much again. Content of a
            /// stream that has ended needs no such call.
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

            /// Ends a stream with RST_STREAM. Does nothing if the stream is closed.
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

            /// Sends a PING. The peer's answer arrives as a `Pong` event.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn ping<B: Buffer>(&mut self, payload: u64, out: &mut B) -> Result<(), Misuse> {
                self.core.ping(payload, out)
            }

            /// Starts a graceful shutdown (RFC 9113 section 6.8): a GOAWAY tells the peer to open no more streams, and streams that the
            /// peer opens before it reads the GOAWAY are still served. A PING follows; its answer triggers a second GOAWAY that names the
            /// last stream served.
            ///
            /// # Errors
            ///
            /// [`Misuse::NoSpace`] from the buffer.
            pub fn shutdown<B: Buffer>(&mut self, out: &mut B) -> Result<(), Misuse> {
                self.core.shutdown(out)
            }

            /// Shuts down at once: sends a GOAWAY with `code` that names the last stream served. Later streams are ignored.
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

            /// Whether the connection is to be closed: it has failed, or it is shutting down and every stream has ended.
            #[must_use]
            pub fn is_over(&self) -> bool {
                self.core.is_over()
            }

            /// Returns the number of streams that are open or half-closed.
            #[must_use]
            pub fn streams(&self) -> usize {
                self.core.streams.len() as usize
            }

            /// Whether `stream` is open or half-closed.
            #[must_use]
            pub fn is_open(&self, stream: u32) -> bool {
                self.core.streams.slot(stream).is_some()
            }

            /// Returns a small number that identifies an open stream for as long as it is open, for tables beside the connection.
            #[must_use]
            pub fn slot(&self, stream: u32) -> Option<usize> {
                self.core.streams.slot(stream)
            }

            /// Whether the peer's preface and SETTINGS have arrived.
            #[must_use]
            pub fn has_begun(&self) -> bool {
                self.core.has_begun()
            }

            /// Whether our SETTINGS await their acknowledgement. A peer that does not acknowledge them in reasonable time breaks the
            /// protocol (RFC 9113 section 6.5.3): call [`fail_settings`](Self::fail_settings) then.
            #[must_use]
            pub fn awaits_settings(&self) -> bool {
                self.core.awaits_ack()
            }

            /// Ends the connection because the peer did not acknowledge our SETTINGS in time.
            pub fn fail_settings<B: Buffer>(&mut self, out: &mut B) -> Violation {
                self.core.fail(crate::ViolationKind::SettingsTimeout, 0, out)
            }

            /// Whether a DATA frame or a header block has begun and is incomplete.
            #[must_use]
            pub fn is_inside(&self) -> bool {
                self.core.is_inside()
            }

            /// Returns `points` of [`Limits::budget`] to the peer as time passes: without this, the PINGs that keep a connection open would
            /// add up to a flood. One point for each 100 ms is right.
            #[inline]
            pub fn replenish(&mut self, points: u32) {
                self.core.earn(points);
            }

            /// Returns how many points of [`Limits::budget`] the peer has spent.
            #[inline]
            #[must_use]
            pub fn spent(&self) -> u32 {
                self.core.spent()
            }

            /// Frees the memory that only a connection with streams needs. For a connection that has been idle for a while.
            pub fn give_back(&mut self) {
                self.core.give_back();
            }
        }
    };
}

pub(crate) use both_roles;
