//! The layer around an application: gives each request its session, and its answer the cookie.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use cookie::SameSite;
use http::header::SET_COOKIE;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::cookies::CookieSettings;
use super::extract::Session;
use crate::store::SessionStore;

/// Makes the [`Session`] extractor work, and sets the cookie: `HttpOnly`, `Secure`, `SameSite=Lax`,
/// named `__Host-session`, gone when the browser is closed.
#[derive(Clone, Debug)]
pub struct SessionLayer {
    store: SessionStore,
    cookie: CookieSettings,
}

impl SessionLayer {
    /// A layer with sessions in this store.
    pub fn new(store: SessionStore) -> SessionLayer {
        SessionLayer { store, cookie: CookieSettings::default() }
    }

    /// The cookie's name. Without one it is `__Host-session`, or `session` where browsers would
    /// refuse that: without TLS, with a domain, or below a path.
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie.name = Some(name.into());
        self
    }

    /// Whether browsers send it over TLS only: yes, unless this says no, for development.
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// When browsers send it with requests that other sites cause: `Lax`, only when the visitor
    /// follows a link. `None` implies `Secure`.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Below which path it is sent: `/`.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.cookie.path = path.into();
        self
    }

    /// To which domain and those below it: only this host, unless this says so.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.cookie.domain = Some(domain.into());
        self
    }

    /// Whether it outlives the browser: until the session's cap, however it slides.
    pub fn persistent(mut self, persistent: bool) -> Self {
        self.cookie.persistent = persistent;
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { inner, layer: self.clone() }
    }
}

/// What [`SessionLayer`] makes of an application.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    inner: S,
    layer: SessionLayer,
}

impl<S, Q, A> Service<Request<Q>> for SessionService<S>
where
    S: Service<Request<Q>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = Response<A>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Q>) -> Self::Future {
        let cookie = self.layer.cookie.clone();
        let token = cookie.token(request.headers());
        let session = Session::new(self.layer.store.clone(), token);
        request.extensions_mut().insert(session.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            if let Some(header) = session.cookie(&cookie) {
                response.headers_mut().append(SET_COOKIE, header);
            }
            Ok(response)
        })
    }
}
