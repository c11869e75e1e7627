//! The pages, as text. Whatever a visitor has typed goes through [`escape`].

use std::fmt::Write;
use std::time::SystemTime;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use cloakroom_client::axum::Session;
use cloakroom_client::{Session as Stored, Token};

use crate::shop::{Cart, ITEMS, Item, Order, Profile, item, total};

/// What every page says of the visit.
pub(crate) struct Visit {
    user: Option<String>,
    visits: i64,
    notice: Option<String>,
    minutes: u64,
    fingerprint: String,
}

impl Visit {
    pub(crate) fn of(session: &Session, visits: i64, notice: Option<String>) -> Visit {
        let stored = session.stored();
        let left = stored.as_ref().map(Stored::expires_in).unwrap_or_default();
        let fingerprint = stored.map(|stored| stored.token().fingerprint()).unwrap_or_default();
        let minutes = left.as_secs().div_ceil(60);
        Visit { user: session.user(), visits, notice, minutes, fingerprint }
    }
}

pub(crate) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css")], include_str!("style.css"))
}

/// Text as it may stand in a page and in its attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

fn page(title: &str, visit: Option<&Visit>, body: &str) -> String {
    let user = visit.and_then(|visit| visit.user.as_deref());
    let menu = match user {
        Some(user) => format!(
            r#"<a href="/orders">Orders</a><a href="/sessions">Sessions</a>
               <span class="who">{}</span>
               <form method="post" action="/logout"><button class="quiet" id="logout">Log out</button></form>"#,
            escape(user)
        ),
        None => r#"<a href="/#login">Log in</a>"#.to_owned(),
    };
    let notice = visit.and_then(|visit| visit.notice.as_deref());
    let notice = notice.map_or_else(String::new, |notice| {
        format!(r#"<p class="notice" id="notice" role="status">{}</p>"#, escape(notice))
    });
    format!(
        r##"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} – The Cloakroom</title><link rel="stylesheet" href="/style.css">
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Ccircle cx='16' cy='16' r='15' fill='%23c8973f'/%3E%3Ccircle cx='16' cy='8' r='3' fill='%23241b2b'/%3E%3C/svg%3E">
</head><body>
<header><a class="brand" href="/"><svg viewBox="0 0 32 32" aria-hidden="true"><circle cx="16" cy="16" r="15"/><circle class="hole" cx="16" cy="8" r="3"/><path d="M9 19h14M9 23h9"/></svg>The Cloakroom</a>
<nav>{menu}</nav></header>
<main>{notice}{body}</main>
<footer>Sessions by cloakroom-client. This page knows your session as
<code>{}</code>; the token itself never leaves the cookie.</footer>
</body></html>"##,
        visit.map_or("none", |visit| &visit.fingerprint)
    )
}

pub(crate) fn home(visit: &Visit, cart: &Cart) -> String {
    let hello = match &visit.user {
        Some(user) => format!("Good evening, {}.", escape(user)),
        None => "Leave your coat, keep the token.".to_owned(),
    };
    let log_in = match visit.user {
        Some(_) => String::new(),
        None => r#"<form class="card login" id="login" method="post" action="/login">
<h2>Log in</h2><label>Your name <input name="name" required maxlength="40" autocomplete="username"></label>
<label class="check"><input type="checkbox" name="remember" value="yes"> Remember me for two weeks</label>
<button>Log in</button><p class="small">Any name will do: this is a rehearsal.</p></form>"#
            .to_owned(),
    };
    let goods: String = ITEMS.iter().map(good).collect();
    let body = format!(
        r#"<section class="hero"><div><h1>{hello}</h1>
<p>Visit number <strong id="visits">{}</strong> of this session. It ends in
<strong>{} minutes</strong> unless you come back before.</p></div></section>
<div class="columns"><section class="goods">{goods}</section>
<aside>{log_in}{}</aside></div>"#,
        visit.visits,
        visit.minutes,
        basket(cart),
    );
    page("Welcome", Some(visit), &body)
}

fn good(item: &Item) -> String {
    format!(
        r#"<article class="card"><svg viewBox="0 0 120 120" aria-hidden="true">
<path d="M60 14c-6 0-9 4-9 8h6c0-2 1-3 3-3s3 1 3 3-6 4-6 9L28 46l-12 56h22l4-34v40h36V68l4 34h22L92 46 63 31v-2c0-3 6-4 6-8 0-4-3-7-9-7z" fill="{colour}"/>
<path d="M60 36v70M52 52l8-12 8 12" fill="none" stroke="rgba(0,0,0,.35)" stroke-width="2"/>
<g fill="rgba(0,0,0,.45)"><circle cx="65" cy="62" r="2"/><circle cx="65" cy="76" r="2"/><circle cx="65" cy="90" r="2"/></g></svg>
<h3>{name}</h3><p>{about}</p><form method="post" action="/cart">
<span class="price">{price}</span><button name="item" value="{id}">Put in cart</button></form></article>"#,
        colour = item.colour,
        name = item.name,
        about = item.about,
        price = euros(item.price),
        id = item.id,
    )
}

fn basket(cart: &Cart) -> String {
    if cart.is_empty() {
        return r#"<section class="card" id="cart"><h2>Your cart</h2><p class="small">Nothing hangs here yet.</p></section>"#.to_owned();
    }
    format!(
        r#"<section class="card" id="cart"><h2>Your cart</h2><ul>{}</ul>
<p class="sum"><span>Together</span><strong>{}</strong></p>
<form method="post" action="/checkout"><button id="checkout">Order</button></form></section>"#,
        lines(cart, true),
        euros(total(cart)),
    )
}

fn lines(cart: &Cart, removable: bool) -> String {
    let mut lines = String::new();
    for (id, count) in cart {
        let Some(item) = item(id) else { continue };
        let remove = match removable {
            true => format!(
                r#"<form method="post" action="/cart/remove"><button class="quiet" name="item" value="{id}" aria-label="Remove {}">×</button></form>"#,
                item.name
            ),
            false => String::new(),
        };
        // Writing to a string cannot fail.
        let _ = write!(
            lines,
            r#"<li><span class="dot" style="background:{}"></span>{count} × {}<span class="price">{}</span>{remove}</li>"#,
            item.colour,
            item.name,
            euros(item.price * i64::from(*count)),
        );
    }
    lines
}

pub(crate) fn orders(visit: &Visit, profile: &Profile, orders: &[Order]) -> String {
    let mut list = String::new();
    for order in orders {
        let _ = write!(
            list,
            r#"<article class="card order"><h3>Order {}</h3><p class="small">{}</p><ul>{}</ul>
<p class="sum"><span>Together</span><strong>{}</strong></p></article>"#,
            escape(&order.id),
            day(order.at),
            lines(&order.cart, false),
            euros(order.total),
        );
    }
    if orders.is_empty() {
        list += r#"<p class="card">No orders yet.</p>"#;
    }
    let body = format!(
        r#"<h1>Your orders</h1><p class="small">A customer since {}; {} visits in sessions that are
over. All this is in the database and outlives every session.</p><div class="list">{list}</div>"#,
        day(profile.since),
        profile.visits,
    );
    page("Orders", Some(visit), &body)
}

pub(crate) fn sessions(visit: &Visit, own: &Token, all: &[Stored]) -> String {
    let mut list = String::new();
    for session in all {
        let id = session.token().fingerprint();
        let this = session.token() == own;
        let device = session.fields().get::<String>("device").ok().flatten().unwrap_or_default();
        let visits = session.fields().counter("visits").ok().flatten().unwrap_or(0);
        let end = match this {
            true => r#"<span class="tag">this one</span>"#.to_owned(),
            false => format!(
                r#"<form method="post" action="/sessions/end"><button class="quiet" name="session" value="{id}">End it</button></form>"#
            ),
        };
        let _ = write!(
            list,
            r#"<tr><td><code>{id}</code></td><td>{}</td><td data-is="since">{}</td><td data-is="visits">{visits}</td><td data-is="ends in">{} min</td><td>{end}</td></tr>"#,
            escape(&device),
            session.created_at().map_or_else(String::new, clock),
            session.expires_in().as_secs().div_ceil(60),
        );
    }
    let body = format!(
        r#"<h1>Where you are logged in</h1><table class="card" id="sessions"><thead><tr><th>Session</th>
<th>Device</th><th>Since</th><th>Visits</th><th>Ends in</th><th></th></tr></thead><tbody>{list}</tbody></table>
<form method="post" action="/logout-everywhere"><button id="everywhere">Log out everywhere</button></form>"#
    );
    page("Sessions", Some(visit), &body)
}

pub(crate) fn please_log_in() -> String {
    page(
        "Log in",
        None,
        r#"<h1>Please log in first.</h1><p><a href="/#login">To the front page</a></p>"#,
    )
}

pub(crate) fn sorry(text: &str) -> String {
    page("Sorry", None, &format!("<h1>Sorry.</h1><p>{}</p>", escape(text)))
}

pub(crate) fn welcome(name: &str, orders: i64) -> String {
    match orders {
        0 => format!("Welcome, {name}!"),
        1 => format!("Welcome back, {name}! You have ordered once before."),
        many => format!("Welcome back, {name}! You have ordered {many} times before."),
    }
}

/// A browser's name, as far as its long description tells.
pub(crate) fn device(agent: &str) -> &'static str {
    let known = [
        ("Firefox", "Firefox"),
        ("Edg/", "Edge"),
        ("Chrome", "Chrome"),
        ("Safari", "Safari"),
        ("curl", "curl"),
    ];
    known.iter().find(|(word, _)| agent.contains(word)).map_or("a browser", |(_, name)| name)
}

fn euros(cents: i64) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

/// A time of the day, UTC.
fn clock(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02} UTC", since / 3600 % 24, since / 60 % 60)
}

/// A day of the calendar, from seconds since the Unix epoch.
fn day(seconds: i64) -> String {
    let date = time::OffsetDateTime::from_unix_timestamp(seconds).map(time::OffsetDateTime::date);
    date.map_or_else(|_| String::new(), |date| date.to_string())
}
