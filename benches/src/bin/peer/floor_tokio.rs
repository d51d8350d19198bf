//! The floor on tokio: a task per connection, the buffers shared by all of them.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::floor::Floor;

thread_local! {
    static BUFFERS: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; 64 * 1024], Vec::with_capacity(64 * 1024)));
}

pub(crate) fn serve(listen: SocketAddr) -> io::Result<()> {
    crate::on_tokio(listen, |stream| async {
        // An error only ends the connection.
        let _ = connection(stream).await;
    })
}

async fn connection(mut stream: TcpStream) -> io::Result<()> {
    let mut floor = Floor::default();
    loop {
        let turn = poll_fn(|cx| {
            BUFFERS.with_borrow_mut(|(input, output)| {
                let mut buffer = ReadBuf::new(input);
                ready!(Pin::new(&mut stream).poll_read(cx, &mut buffer))?;
                let input = buffer.filled_mut();
                if input.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                output.clear();
                floor.received(input, output);
                let sent = match stream.try_write(output) {
                    Ok(n) => n,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                    Err(error) => return Poll::Ready(Err(error)),
                };
                Poll::Ready(io::Result::Ok(Some(output[sent..].to_vec())))
            })
        });
        match turn.await? {
            Some(unsent) if !unsent.is_empty() => stream.write_all(&unsent).await?,
            Some(_) => {}
            None => return Ok(()),
        }
    }
}
