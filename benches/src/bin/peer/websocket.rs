//! WebSocket echoes.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};

pub(crate) fn fastwebsockets(listen: SocketAddr) -> io::Result<()> {
    use fastwebsockets::{FragmentCollector, OpCode, WebSocketError, upgrade};
    use hyper::body::Incoming;
    use hyper::{Request, Response};

    async fn echo(upgraded: upgrade::UpgradeFut) -> Result<(), WebSocketError> {
        let mut socket = FragmentCollector::new(upgraded.await?);
        loop {
            let frame = socket.read_frame().await?;
            match frame.opcode {
                OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
                OpCode::Close => return Ok(()),
                _ => {}
            }
        }
    }

    async fn answer(mut request: Request<Incoming>) -> Result<Response<http_body_util::Empty<Bytes>>, WebSocketError> {
        let (response, upgraded) = upgrade::upgrade(&mut request)?;
        // Its example also exempts the task from tokio's budget.
        tokio::spawn(tokio::task::unconstrained(async {
            let _ = echo(upgraded).await;
        }));
        Ok(response)
    }

    crate::on_tokio(listen, |stream| async {
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(stream), hyper::service::service_fn(answer))
            .with_upgrades();
        let _ = served.await;
    })
}

pub(crate) fn tokio_tungstenite(listen: SocketAddr) -> io::Result<()> {
    crate::on_tokio(listen, |stream| async {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

pub(crate) fn tokio_websockets(listen: SocketAddr) -> io::Result<()> {
    crate::on_tokio(listen, |stream| async {
        let Ok((_, mut socket)) = tokio_websockets::ServerBuilder::new().accept(stream).await else {
            return;
        };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}
