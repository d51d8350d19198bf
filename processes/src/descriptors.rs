//! Passes file descriptors from one process to another.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// The most descriptors in one message: the kernel's limit.
pub(crate) const MOST: usize = 253;

/// Sends two lists of descriptors.
pub(crate) fn send(stream: &UnixStream, lists: [&[BorrowedFd<'_>]; 2]) -> io::Result<()> {
    let all = lists.concat();
    if all.len() > MOST {
        return Err(io::Error::new(ErrorKind::InvalidInput, "too many descriptors"));
    }
    let lengths = lists.map(|list| list.len() as u8);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !all.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&all)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    sendmsg(stream, &[IoSlice::new(&lengths)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives two lists of descriptors.
pub(crate) fn receive(stream: &UnixStream) -> io::Result<[Vec<OwnedFd>; 2]> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut lengths = [0; 2];
    let received = recvmsg(
        stream,
        &mut [IoSliceMut::new(&mut lengths)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut first = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            first.extend(descriptors);
        }
    }
    let [one, two] = lengths.map(usize::from);
    if received.bytes != lengths.len() || first.len() != one + two {
        return Err(io::Error::new(ErrorKind::InvalidData, "not all descriptors came"));
    }
    let second = first.split_off(one);
    Ok([first, second])
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn two_lists_arrive() {
        let (near, far) = UnixStream::pair().unwrap();
        for (one, two) in [(0, 0), (3, 0), (0, 2), (200, 53)] {
            let of = |count| vec![near.as_fd(); count];
            send(&near, [&of(one), &of(two)]).unwrap();
            let [first, second] = receive(&far).unwrap();
            assert_eq!((first.len(), second.len()), (one, two));
        }
        let many = vec![near.as_fd(); 127];
        assert_eq!(send(&near, [&many, &many]).unwrap_err().kind(), ErrorKind::InvalidInput);
        drop(near);
        assert_eq!(receive(&far).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
