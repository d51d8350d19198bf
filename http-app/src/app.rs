//! Routes.

use std::fmt;
use std::sync::Arc;

use proto_http::Request;
use protocol::{Peer, Woken};

use crate::call::decode;
use crate::{Answer, AppHandler, Call, IntoAnswer, IntoReply, Problem, Reply};

/// The largest body by default, in bytes: 1 MiB, which is also the default limit of the codecs.
const LIMIT: usize = 1024 * 1024;

type Function = Arc<dyn Fn(Call) -> Answer + Send + Sync>;

/// The routes of a program. Clones share them.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    router: matchit::Router<Route>,
    fallback: Option<Function>,
    pub(crate) limit: usize,
}

/// The methods of one path, each with its function.
#[derive(Default)]
struct Route {
    methods: Vec<(Box<str>, Function)>,
}

/// Collects the routes of an [`App`].
///
/// A path consists of literal segments, parameters (`{name}`, one segment or part of it), and at its end a rest (`{*name}`). Literal paths are
/// matched before parameters. `{{` and `}}` are literal braces.
pub struct AppBuilder {
    routes: Vec<(Box<str>, Route)>,
    fallback: Option<Function>,
    limit: usize,
}

/// A path that the router refuses: one with a syntax error, or one that conflicts with another path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    path: Box<str>,
    error: matchit::InsertError,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the route {}: {}", self.path, self.error)
    }
}

impl std::error::Error for RouteError {}

impl App {
    /// An app without routes.
    #[expect(clippy::new_ret_no_self, reason = "an app begins with its builder")]
    #[must_use]
    pub fn new() -> AppBuilder {
        AppBuilder {
            routes: Vec::new(),
            fallback: None,
            limit: LIMIT,
        }
    }

    /// The handler of one connection, or of one stream of HTTP/2.
    #[must_use]
    pub fn handler(&self, peer: &Peer<'_, Woken>) -> AppHandler {
        AppHandler::new(Arc::clone(&self.shared), peer.remote(), peer.sender())
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

impl AppBuilder {
    /// Answers requests of `method`, which is case-sensitive, for `path` by `function`. The last function for a method and a path counts.
    #[must_use]
    pub fn route<F, A>(mut self, method: &str, path: &str, function: F) -> Self
    where
        F: Fn(Call) -> A + Send + Sync + 'static,
        A: IntoAnswer,
    {
        let function: Function = Arc::new(move |call| function(call).into_answer());
        let known = self.routes.iter().position(|(known, _)| **known == *path);
        let at = known.unwrap_or_else(|| {
            self.routes.push((path.into(), Route::default()));
            self.routes.len() - 1
        });
        if let Some((_, route)) = self.routes.get_mut(at) {
            route.methods.retain(|(known, _)| **known != *method);
            route.methods.push((method.into(), function));
        }
        self
    }

    /// Answers GET, and HEAD without the content.
    #[must_use]
    pub fn get<A: IntoAnswer>(self, path: &str, function: impl Fn(Call) -> A + Send + Sync + 'static) -> Self {
        self.route("GET", path, function)
    }

    /// Answers POST.
    #[must_use]
    pub fn post<A: IntoAnswer>(self, path: &str, function: impl Fn(Call) -> A + Send + Sync + 'static) -> Self {
        self.route("POST", path, function)
    }

    /// Answers PUT.
    #[must_use]
    pub fn put<A: IntoAnswer>(self, path: &str, function: impl Fn(Call) -> A + Send + Sync + 'static) -> Self {
        self.route("PUT", path, function)
    }

    /// Answers PATCH.
    #[must_use]
    pub fn patch<A: IntoAnswer>(self, path: &str, function: impl Fn(Call) -> A + Send + Sync + 'static) -> Self {
        self.route("PATCH", path, function)
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<A: IntoAnswer>(self, path: &str, function: impl Fn(Call) -> A + Send + Sync + 'static) -> Self {
        self.route("DELETE", path, function)
    }

    /// Answers requests for which there is no route, in place of a 404. A body is collected for it as for routes.
    #[must_use]
    pub fn fallback<A: IntoAnswer>(mut self, function: impl Fn(Call) -> A + Send + Sync + 'static) -> Self {
        self.fallback = Some(Arc::new(move |call| function(call).into_answer()));
        self
    }

    /// The largest body, in bytes; 1 MiB by default. A larger one is answered with 413. The limits of the servers' configurations
    /// ([`Limits::body`](proto_http::Limits)) apply as well.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Checks the routes.
    ///
    /// # Errors
    ///
    /// [`RouteError`] for the first path that is malformed or in conflict with an earlier one.
    pub fn build(self) -> Result<App, RouteError> {
        let mut router = matchit::Router::new();
        for (path, route) in self.routes {
            router
                .insert(&*path, route)
                .map_err(|error| RouteError { path, error })?;
        }
        let shared = Shared {
            router,
            fallback: self.fallback,
            limit: self.limit,
        };
        Ok(App {
            shared: Arc::new(shared),
        })
    }
}

impl fmt::Debug for AppBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.routes.iter().map(|(path, _)| path))
            .finish()
    }
}

/// The function that answers a request, and the parameters of its route.
pub(crate) struct Found {
    pub(crate) function: Function,
    pub(crate) params: Vec<(Box<str>, Box<str>)>,
}

impl Shared {
    /// Finds the function for a request, or the reply if there is none.
    pub(crate) fn find(&self, request: &Request<'_>) -> Result<Found, Reply> {
        let (method, path) = (request.method(), request.path());
        if (method, path) == ("OPTIONS", "*") {
            return Err(Reply::new(204));
        }
        let Ok(found) = self.router.at(path) else {
            let fallback = self
                .fallback
                .as_ref()
                .ok_or_else(|| Problem::not_found().into_reply())?;
            return Ok(Found {
                function: Arc::clone(fallback),
                params: Vec::new(),
            });
        };
        let function = found.value.function(method).ok_or_else(|| found.value.refuse(method))?;
        let params: Result<_, Problem> = found
            .params
            .iter()
            .map(|(name, value)| Ok((name.into(), decode(value)?)))
            .collect();
        Ok(Found {
            function: Arc::clone(function),
            params: params.map_err(IntoReply::into_reply)?,
        })
    }
}

impl Route {
    fn function(&self, method: &str) -> Option<&Function> {
        let of = |wanted: &str| self.methods.iter().find(|(method, _)| **method == *wanted);
        let found = of(method).or_else(|| if method == "HEAD" { of("GET") } else { None });
        found.map(|(_, function)| function)
    }

    /// The reply to a method without a function: it lists the others (RFC 9110 sections 9.3.7 and 15.5.6).
    fn refuse(&self, method: &str) -> Reply {
        let mut allow: Vec<&str> = self.methods.iter().map(|(method, _)| &**method).collect();
        if allow.contains(&"GET") && !allow.contains(&"HEAD") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        let allow = allow.join(", ");
        match method {
            "OPTIONS" => Reply::new(204),
            _ => Problem::new(405, format!("{method} is not among {allow}")).into_reply(),
        }
        .field("Allow", allow)
    }
}
