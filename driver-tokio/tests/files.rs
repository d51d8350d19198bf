//! A file whose pages are not in memory is read on another thread, and comes out whole.
#![cfg(target_os = "linux")]

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use protocol::{Cx, FilePiece, Input, Limits, Protocol};
use rustix::fs::{Advice, fadvise};
use tokio::io::{AsyncReadExt, duplex};

const LENGTH: usize = 3_000_000;

struct Sends(Arc<File>);

impl Protocol for Sends {
    type Message = Infallible;
    type Error = Infallible;

    fn connected(&mut self, cx: &mut Cx<'_>) -> Result<(), Infallible> {
        cx.send(b"head");
        cx.output()
            .push_file(FilePiece::new(Arc::clone(&self.0), 0, LENGTH as u64));
        cx.send(b"tail");
        cx.close();
        Ok(())
    }

    fn received(&mut self, _: &mut Cx<'_>, _: &mut Input<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

fn come_and_go(runtime: &tokio::runtime::Runtime) {
    let path = std::env::temp_dir().join(format!("driver-tokio-{}", std::process::id()));
    let bytes: Vec<u8> = (0..LENGTH).map(|at| (at / 3 % 253) as u8).collect();
    let mut made = File::create(&path).unwrap();
    made.write_all(&bytes).unwrap();
    made.sync_all().unwrap();
    let file = Arc::new(File::open(&path).unwrap());
    std::fs::remove_file(&path).unwrap();
    // Where the file system has a disk beneath it, the pages are gone now.
    fadvise(&*file, 0, None, Advice::DontNeed).unwrap();
    runtime.block_on(async {
        let (mut peer, stream) = duplex(10_000);
        let served = driver_tokio::drive(stream, Sends(file), Limits::default());
        let reading = async {
            let mut seen = Vec::new();
            peer.read_to_end(&mut seen).await.unwrap();
            drop(peer);
            seen
        };
        let (reason, seen) = tokio::join!(served, reading);
        assert_eq!(reason, protocol::Reason::Closed);
        assert!(seen == [b"head", &bytes[..], b"tail"].concat(), "{} bytes", seen.len());
    });
}

#[test]
fn what_is_not_cached_is_read_elsewhere() {
    use tokio::runtime::Builder;
    come_and_go(&Builder::new_current_thread().enable_all().build().unwrap());
    come_and_go(
        &Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap(),
    );
}
