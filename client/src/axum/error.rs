//! What a visitor sees of an error: enough to know what to do, and nothing about the inside.

use axum_core::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};

use crate::error::Error;

impl IntoResponse for Error {
    /// 401 for a session that is over, 503 with `Retry-After` while no server can be asked, 500 for
    /// anything else.
    fn into_response(self) -> Response {
        #[cfg(feature = "tracing")]
        if !matches!(self, Error::NoSuchSession) {
            tracing::error!(error = %self, "a request failed for its session");
        }
        match self {
            Error::NoSuchSession => {
                (StatusCode::UNAUTHORIZED, "your session is over\n").into_response()
            }
            error if error.is_unavailable() => {
                let said = (StatusCode::SERVICE_UNAVAILABLE, "please try again in a moment\n");
                let mut response = said.into_response();
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal error\n").into_response(),
        }
    }
}
