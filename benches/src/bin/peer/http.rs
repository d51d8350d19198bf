//! HTTP servers.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use may_minihttp::HttpServiceFactory as _;

use crate::BODY;

pub(crate) fn hyper(listen: SocketAddr) -> io::Result<()> {
    use hyper::header::{CONTENT_TYPE, HeaderValue};
    let answer = |_: hyper::Request<hyper::body::Incoming>| async {
        let mut response = hyper::Response::new(Full::new(Bytes::from_static(BODY.as_bytes())));
        let kind = HeaderValue::from_static("text/plain");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        Ok::<_, Infallible>(response)
    };
    crate::on_tokio(listen, move |stream| async move {
        let service = hyper::service::service_fn(answer);
        let served = hyper::server::conn::http1::Builder::new()
            .pipeline_flush(true)
            .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
        // It ends with the connection.
        let _ = served.await;
    })
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
