//! The safe face of io_uring: polls, receives into the ring's buffers, sends of owned output, and cancellations.
//!
//! A buffer of the ring belongs to the kernel until a completion lends it to the program, and again after the program has given it back.
//! The bytes of a send belong to the ring until the send completes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use bytes::Buf;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use protocol::Output;

use self::buffers::Buffers;
pub(crate) use self::buffers::Lent;

mod buffers;

/// Operations that may be submitted at once.
const ENTRIES: u32 = 1024;
/// Completions that may wait. The kernel keeps what does not fit, which costs it memory.
const COMPLETIONS: u32 = 8 * ENTRIES;
/// `IORING_RECVSEND_POLL_FIRST`: waits for input before the first attempt to receive.
const POLL_FIRST: u16 = 1;
/// The most slices of one send.
const SLICES: usize = 64;

/// A kind of operation is in the upper byte of its name, the caller's token in the others.
const POLL: u64 = 1 << 56;
const RECEIVE: u64 = 2 << 56;
const SEND: u64 = 3 << 56;
const CANCEL: u64 = 4 << 56;
const KIND: u64 = 0xff << 56;

/// What the kernel has completed. Tokens are the caller's.
pub(crate) enum Completion {
    /// What was polled is readable.
    Readable(u64),
    /// Bytes were received into a buffer; none at the end of the stream.
    Received(u64, io::Result<Lent>),
    /// So many bytes were sent, of the output that was submitted.
    Sent(u64, Output, io::Result<usize>),
}

/// A send under way: what the kernel reads meanwhile.
struct Sending {
    token: u64,
    output: Output,
    #[expect(
        dead_code,
        reason = "only the kernel reads it: the pieces of output that has several"
    )]
    message: Option<Box<Message>>,
}

struct Message {
    slices: [libc::iovec; SLICES],
    header: libc::msghdr,
}

/// One io_uring with its buffers.
pub(crate) struct Ring {
    uring: IoUring,
    buffers: Rc<Buffers>,
    /// Sends under way, by their number.
    sends: Vec<Option<Sending>>,
    free_sends: Vec<usize>,
    /// Operations for which the submission queue had no room.
    waiting: VecDeque<squeue::Entry>,
    /// Receives and sends that have not completed: the kernel may use their memory.
    pending: usize,
}

impl Ring {
    pub(crate) fn new() -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)?;
        let buffers = Buffers::new(&uring)?;
        Ok(Ring {
            uring,
            buffers,
            sends: Vec::new(),
            free_sends: Vec::new(),
            waiting: VecDeque::new(),
            pending: 0,
        })
    }

    /// Says once when `fd` is readable. The upper byte of `token` must be 0, here and below.
    pub(crate) fn poll(&mut self, token: u64, fd: BorrowedFd<'_>) {
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).build();
        self.submit(entry.user_data(POLL | token));
    }

    /// Receives once, into a buffer that the kernel chooses when bytes have arrived.
    pub(crate) fn receive(&mut self, token: u64, fd: BorrowedFd<'_>) {
        let entry = opcode::Recv::new(Fd(fd.as_raw_fd()), std::ptr::null_mut(), 0)
            .buf_group(Buffers::GROUP)
            // The peer has most likely sent nothing yet.
            .ioprio(POLL_FIRST)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.pending += 1;
        self.submit(entry.user_data(RECEIVE | token));
    }

    /// Sends some of `output`, which is not empty.
    pub(crate) fn send(&mut self, token: u64, fd: BorrowedFd<'_>, output: Output) {
        let fd = Fd(fd.as_raw_fd());
        let number = self.free_sends.pop().unwrap_or_else(|| {
            self.sends.push(None);
            self.sends.len() - 1
        });
        let mut message = None;
        // Bytes of output stay where they are when the output is moved.
        let first = output.chunk();
        let entry = if first.len() == output.len() {
            opcode::Send::new(fd, first.as_ptr(), u32::try_from(first.len()).unwrap_or(u32::MAX))
                .flags(libc::MSG_NOSIGNAL)
                .build()
        } else {
            let message = message.insert(Message::of(&output));
            opcode::SendMsg::new(fd, &raw const message.header)
                .flags(libc::MSG_NOSIGNAL as u32)
                .build()
        };
        self.sends[number] = Some(Sending { token, output, message });
        self.pending += 1;
        self.submit(entry.user_data(SEND | number as u64));
    }

    /// Cancels all operations of `fd`; each still completes.
    pub(crate) fn cancel(&mut self, fd: BorrowedFd<'_>) {
        let of = CancelBuilder::fd(Fd(fd.as_raw_fd())).all();
        self.submit(opcode::AsyncCancel2::new(of).build().user_data(CANCEL));
    }

    fn submit(&mut self, entry: squeue::Entry) {
        self.waiting.push_back(entry);
        if self.waiting.len() >= ENTRIES as usize {
            // An error shows again in `wait`.
            let _ = self.fill().and_then(|()| self.uring.submit());
        }
    }

    /// Moves operations to the submission queue.
    #[allow(unsafe_code)]
    fn fill(&mut self) -> io::Result<()> {
        loop {
            let mut queue = self.uring.submission();
            while let Some(entry) = self.waiting.pop_front() {
                // SAFETY: what the kernel reads belongs to `sends`, and what the kernel writes to `buffers`, until the operation
                // completes; `drop` forgets both if such operations are pending. Polls and cancellations use no memory.
                if unsafe { queue.push(&entry) }.is_err() {
                    self.waiting.push_front(entry);
                    break;
                }
            }
            drop(queue);
            if self.waiting.is_empty() {
                return Ok(());
            }
            self.uring.submit()?;
        }
    }

    /// Submits what waits, and sleeps until something completes, at most for `timeout`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.fill()?;
        let ready = !self.uring.completion().is_empty();
        let timeout = if ready { Some(Duration::ZERO) } else { timeout };
        // The kernel refuses times that its clock cannot express.
        let timeout = timeout.map(|timeout| timeout.min(Duration::from_secs(86_400)));
        let time = timeout.map(|timeout| Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos()));
        let waited = match &time {
            Some(time) => self
                .uring
                .submitter()
                .submit_with_args(1, &SubmitArgs::new().timespec(time)),
            None => self.uring.submitter().submit_and_wait(1),
        };
        match waited {
            Ok(_) => Ok(()),
            // The time has passed, a signal came, or completions must be taken first.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The next completion.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        loop {
            let entry = self.uring.completion().next()?;
            if let Some(completion) = self.completed(&entry) {
                return Some(completion);
            }
        }
    }

    fn completed(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let token = entry.user_data() & !KIND;
        let outcome = match entry.result() {
            result if result < 0 => Err(io::Error::from_raw_os_error(-result)),
            result => Ok(result as usize),
        };
        match entry.user_data() & KIND {
            POLL => Some(Completion::Readable(token)),
            RECEIVE => {
                self.pending -= 1;
                let buffer = cqueue::buffer_select(entry.flags());
                let lent = self.buffers.lent(buffer, *outcome.as_ref().unwrap_or(&0));
                Some(Completion::Received(token, outcome.map(|_| lent)))
            }
            SEND => {
                self.pending -= 1;
                let number = token as usize;
                let Sending { token, output, .. } = self.sends.get_mut(number)?.take()?;
                self.free_sends.push(number);
                Some(Completion::Sent(token, output, outcome))
            }
            _ => None,
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.pending > 0 {
            // The kernel may still use this memory.
            std::mem::forget(std::mem::take(&mut self.sends));
            std::mem::forget(Rc::clone(&self.buffers));
        }
    }
}

impl Message {
    /// The first pieces of `output`.
    #[allow(unsafe_code)]
    fn of(output: &Output) -> Box<Self> {
        // SAFETY: all fields are numbers or pointers, for which zeros are valid.
        let mut message: Box<Message> = Box::new(unsafe { std::mem::zeroed() });
        let mut filled = 0;
        for (slice, chunk) in message.slices.iter_mut().zip(output.chunks()) {
            slice.iov_base = chunk.as_ptr().cast_mut().cast();
            slice.iov_len = chunk.len();
            filled += 1;
        }
        message.header.msg_iov = message.slices.as_mut_ptr();
        message.header.msg_iovlen = filled;
        message
    }
}
