//! The cookie that carries a token.

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use crate::token::Token;

/// What the cookie is like.
#[derive(Clone, Debug)]
pub(super) struct CookieSettings {
    pub(super) name: Option<String>,
    pub(super) secure: bool,
    pub(super) same_site: SameSite,
    pub(super) path: String,
    pub(super) domain: Option<String>,
    pub(super) persistent: bool,
}

impl Default for CookieSettings {
    fn default() -> Self {
        CookieSettings {
            name: None,
            secure: true,
            same_site: SameSite::Lax,
            path: "/".to_owned(),
            domain: None,
            persistent: false,
        }
    }
}

impl CookieSettings {
    /// Its name. With the prefix `__Host-` browsers themselves see to it that only this host, over
    /// TLS, can have set it.
    pub(super) fn name(&self) -> &str {
        match &self.name {
            Some(name) => name,
            None if self.is_secure() && self.path == "/" && self.domain.is_none() => {
                "__Host-session"
            }
            None => "session",
        }
    }

    /// Browsers take `SameSite=None` only together with `Secure`.
    fn is_secure(&self) -> bool {
        self.secure || self.same_site == SameSite::None
    }

    /// The token in a request's cookies. Of several by the same name the first that is a token
    /// counts: which one a browser sends first is not ours to choose.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<Token> {
        let texts = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        texts
            .flat_map(Cookie::split_parse)
            .filter_map(Result::ok)
            .filter(|cookie| cookie.name() == self.name())
            .find_map(|cookie| Token::parse(cookie.value()))
    }

    /// A header that gives the browser this token. `lasts` is how long the session can live.
    pub(super) fn give(&self, token: &Token, lasts: Option<Duration>) -> Option<HeaderValue> {
        let mut cookie = self.cookie(token.reveal());
        if self.persistent
            && let Some(lasts) = lasts.and_then(|lasts| lasts.try_into().ok())
        {
            cookie.set_max_age(Some(lasts));
        }
        header(&cookie)
    }

    /// A header that takes it back.
    pub(super) fn take_back(&self) -> Option<HeaderValue> {
        let mut cookie = self.cookie("");
        cookie.make_removal();
        header(&cookie)
    }

    fn cookie<'a>(&'a self, value: &'a str) -> Cookie<'a> {
        let mut cookie = Cookie::new(self.name(), value);
        cookie.set_http_only(true);
        cookie.set_secure(self.is_secure());
        cookie.set_same_site(self.same_site);
        cookie.set_path(self.path.as_str());
        if let Some(domain) = &self.domain {
            cookie.set_domain(domain.as_str());
        }
        cookie
    }
}

/// None if the settings hold something that no header can.
fn header(cookie: &Cookie<'_>) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&cookie.to_string()).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::parse(&"x".repeat(35)).expect("it has the form of one")
    }

    fn given(settings: &CookieSettings) -> String {
        let header = settings.give(&token(), Some(Duration::from_secs(60))).expect("a header");
        assert!(header.is_sensitive());
        header.to_str().expect("text").to_owned()
    }

    #[test]
    fn a_cookie_is_as_safe_as_it_can_be_unless_told_otherwise() {
        let x = "x".repeat(35);
        let mut settings = CookieSettings::default();
        let safe = format!("__Host-session={x}; HttpOnly; SameSite=Lax; Secure; Path=/");
        assert_eq!(given(&settings), safe);
        settings.persistent = true;
        assert_eq!(given(&settings), format!("{safe}; Max-Age=60"));
        settings.persistent = false;
        settings.secure = false;
        assert_eq!(given(&settings), format!("session={x}; HttpOnly; SameSite=Lax; Path=/"));
        settings.same_site = SameSite::None;
        assert!(given(&settings).contains("SameSite=None; Secure"), "{}", given(&settings));
        settings.domain = Some("example.com".to_owned());
        assert!(given(&settings).starts_with("session="), "no __Host- with a domain");
    }

    #[test]
    fn a_cookie_is_taken_back_as_it_was_given() {
        let settings = CookieSettings::default();
        let header = settings.take_back().expect("a header");
        let text = header.to_str().expect("text");
        assert!(text.starts_with("__Host-session=;") && text.contains("Max-Age=0"), "{text}");
        assert!(text.contains("Path=/") && text.contains("Secure"), "{text}");
    }

    #[test]
    fn a_token_is_found_among_other_cookies_and_nonsense() {
        let settings = CookieSettings::default();
        let x = "x".repeat(35);
        let mut headers = HeaderMap::new();
        assert_eq!(settings.token(&headers), None);
        headers.append(COOKIE, HeaderValue::from_static("theme=dark; __Host-session=nonsense"));
        headers.append(COOKIE, HeaderValue::from_bytes(b"\xff\xfe").expect("a header"));
        assert_eq!(settings.token(&headers), None);
        let cookies = format!("=; ;;a; __Host-session=\"; __Host-session={x}");
        headers.append(COOKIE, HeaderValue::from_str(&cookies).expect("a header"));
        assert_eq!(settings.token(&headers), Some(token()));
    }
}
