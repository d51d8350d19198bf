//! A handler that serves nothing but files.

use std::marker::PhantomData;
use std::sync::Arc;

use proto_http::{Handler, Misuse, NoUpgrade, Request, Responder};

use crate::{Download, Files};

/// Answers every request of a connection, or of a stream of HTTP/2, from [`Files`]: [`Files::handler`].
#[derive(Debug)]
pub struct FilesHandler<M> {
    files: Arc<Files>,
    download: Option<Box<Download>>,
    message: PhantomData<fn(M)>,
}

impl<M> FilesHandler<M> {
    pub(crate) fn new(files: Arc<Files>) -> Self {
        Self {
            files,
            download: None,
            message: PhantomData,
        }
    }
}

impl<M> Handler for FilesHandler<M> {
    type Message = M;
    type Next = NoUpgrade<M>;

    fn request(&mut self, request: &Request<'_>, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        self.download = self.files.answer(request, request.path(), responder)?.map(Box::new);
        Ok(())
    }

    fn drained(&mut self, responder: &mut Responder<'_, '_>) -> Result<(), Misuse> {
        if let Some(download) = &mut self.download
            && download.proceed(responder)?
        {
            self.download = None;
        }
        Ok(())
    }

    fn closed(&mut self, _: bool) {
        self.download = None;
    }
}
