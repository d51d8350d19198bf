//! HTTP servers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use may_minihttp::HttpServiceFactory as _;
use proto_tls::{CertificateDer, PrivateKeyDer};
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::BODY;

pub(crate) fn hyper(listen: SocketAddr) -> io::Result<()> {
    crate::on_tokio(listen, serve_hyper)
}

/// With the same cryptography as ours.
pub(crate) fn hyper_tls(listen: SocketAddr, certificate: &Path, key: &Path) -> io::Result<()> {
    let provider = proto_tls::provider().map_err(io::Error::other)?;
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(io::Error::other)?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    crate::on_tokio(listen, move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_hyper(stream).await;
            }
        }
    })
}

async fn serve_hyper(stream: impl AsyncRead + AsyncWrite + Unpin) {
    use hyper::header::{CONTENT_TYPE, HeaderValue};
    let answer = |_: hyper::Request<hyper::body::Incoming>| async {
        let mut response = hyper::Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
        let kind = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok::<_, Infallible>(response)
    };
    let service = hyper::service::service_fn(answer);
    let served = hyper::server::conn::http1::Builder::new()
        .pipeline_flush(true)
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
    // An error only ends the connection.
    let _ = served.await;
}

pub(crate) fn actix_web(listen: SocketAddr) -> io::Result<()> {
    use actix_web::{App, HttpResponse, HttpServer, rt::System, web};
    let answer = || async { HttpResponse::Ok().content_type("text/plain").body(BODY) };
    System::new().block_on(
        HttpServer::new(move || App::new().route("/", web::get().to(answer)))
            .workers(1)
            .bind(listen)?
            .run(),
    )
}

pub(crate) fn ntex(listen: SocketAddr) -> io::Result<()> {
    use ntex::rt::{DefaultRuntime, System};
    use ntex::web::{App, HttpResponse, HttpServer, get};

    #[get("/")]
    async fn answer() -> HttpResponse {
        HttpResponse::Ok().content_type("text/plain").body(BODY)
    }

    System::build().build(DefaultRuntime).block_on(async move {
        HttpServer::new(async || App::new().service(answer))
            .workers(1)
            .bind(listen)?
            .run()
            .await
    })
}

pub(crate) fn may_minihttp(listen: SocketAddr) -> io::Result<()> {
    struct Hello;

    impl may_minihttp::HttpService for Hello {
        fn call(
            &mut self,
            _: may_minihttp::Request<'_, '_, '_>,
            response: &mut may_minihttp::Response<'_>,
        ) -> io::Result<()> {
            response.header("Content-Type: text/plain").body(BODY);
            Ok(())
        }
    }

    struct Factory;

    impl may_minihttp::HttpServiceFactory for Factory {
        type Service = Hello;

        fn new_service(&self, _: usize) -> Hello {
            Hello
        }
    }

    may::config().set_workers(1);
    Factory.start(listen)?.wait();
    Ok(())
}
