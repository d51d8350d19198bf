//! Linux socket options that neither socket2 nor rustix supports.
#![allow(unsafe_code, reason = "setsockopt takes a pointer")]

use std::io;
use std::os::fd::AsRawFd;

use libc::{c_int, sock_filter, socklen_t};
use socket2::SockRef;

/// Sets an option with a numeric value.
pub(crate) fn set(socket: &SockRef<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: a number contains no pointer.
    unsafe { set_to(socket, level, option, &value) }
}

/// # Safety
///
/// If `value` contains a pointer, the kernel must be able to read the memory behind it.
unsafe fn set_to<T>(socket: &SockRef<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let (value, size) = ((&raw const *value).cast(), size_of::<T>() as socklen_t);
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads `size` bytes of `value`.
    let outcome = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, size) };
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes the kernel choose a socket by CPU among those that share this port: a SYN received by `cpus[i]` goes to the i-th socket that began
/// to listen; a SYN received by another CPU goes to any of them.
pub(crate) fn steer(socket: &SockRef<'_>, cpus: &[usize]) -> io::Result<()> {
    let mut steps = steering(cpus)?;
    let program = libc::sock_fprog {
        len: u16::try_from(steps.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program points to `steps`, and contains the length of `steps`.
    unsafe { set_to(socket, libc::SOL_SOCKET, libc::SO_ATTACH_REUSEPORT_CBPF, &program) }
}

/// The program in classic BPF: load the CPU; for each `cpus[i]` that equals it, return i; otherwise return the CPU modulo their number.
fn steering(cpus: &[usize]) -> io::Result<Vec<sock_filter>> {
    let step = |code: u32, k: u32| sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    };
    let number = |value: usize| u32::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let cpu = (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32;
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, cpu)];
    for (index, cpu) in cpus.iter().enumerate() {
        let is_it = step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number(*cpu)?);
        program.push(sock_filter { jf: 1, ..is_it });
        program.push(step(libc::BPF_RET | libc::BPF_K, number(index)?));
    }
    program.push(step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, number(cpus.len())?));
    program.push(step(libc::BPF_RET | libc::BPF_A, 0));
    Ok(program)
}

/// Reads an option with a numeric value.
#[cfg(test)]
pub(crate) fn get(socket: &SockRef<'_>, level: c_int, option: c_int) -> io::Result<c_int> {
    let mut value = 0;
    let mut size = size_of_val(&value) as socklen_t;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel writes at most `size` bytes to `value`.
    let outcome = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    if outcome == 0 {
        Ok(value)
    } else {
        Err(io::Error::last_os_error())
    }
}
