//! The shop of examples/webapp as a visitor meets it: on its own, in real browsers, on PostgreSQL.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cloakroom_tests::peers::{Kind, Peer, example, python, root};
use cloakroom_tests::process::Folder;

/// The running example. It ends when this is dropped.
struct Shop {
    child: Child,
    address: SocketAddr,
}

impl Shop {
    fn start(variables: &[(&str, &str)]) -> Shop {
        let program = example("cloakroom-client", "webapp").expect("it can be built");
        let mut command = Command::new(program);
        command.env("PORT", "0").env_remove("SESSIONS_URL").env_remove("DATABASE_URL");
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let address = loop {
            let line = lines.next().expect("it is ready before it ends").expect("text");
            if let Some((_, address)) = line.split_once("ready     http://") {
                break address.parse().expect("an address");
            }
        };
        Shop { child, address }
    }

    /// Sends a request, and returns the whole answer.
    fn ask(&self, method: &str, path: &str, cookie: &str, form: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\ncookie: {cookie}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Nothing can be done about a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sqlite(folder: &Folder) -> String {
    format!("sqlite:{}?mode=rwc", folder.path().join("shop.sqlite").display())
}

fn cookie_in(answer: &str) -> String {
    let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    line.expect("a cookie is set").split(';').next().unwrap_or_default().to_owned()
}

/// From the door to an order.
fn buy_a_coat(shop: &Shop) {
    let page = shop.ask("GET", "/", "", "");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("Leave your coat, keep the token."), "{page}");
    let cookie = cookie_in(&page);
    shop.ask("POST", "/cart", &cookie, "item=loden");
    let refused = shop.ask("POST", "/checkout", &cookie, "");
    assert!(refused.contains("303"), "{refused}");
    let cookie = cookie_in(&shop.ask("POST", "/login", &cookie, "name=Bob"));
    shop.ask("POST", "/checkout", &cookie, "");
    let orders = shop.ask("GET", "/orders", &cookie, "");
    assert!(orders.contains("1 × Loden") && orders.contains("279.00 €"), "{orders}");
    let again = shop.ask("POST", "/checkout", &cookie, "");
    assert!(again.contains("303"), "{again}");
    let orders = shop.ask("GET", "/orders", &cookie, "");
    assert_eq!(orders.matches("<h3>Order").count(), 1, "one order: {orders}");
    let gone = shop.ask("POST", "/logout", &cookie, "");
    assert!(gone.contains("Max-Age=0"), "{gone}");
    assert!(shop.ask("GET", "/orders", &cookie, "").contains("Please log in first."));
}

#[test]
fn it_starts_with_all_it_needs() {
    let folder = Folder::new();
    let shop = Shop::start(&[("DATABASE_URL", &sqlite(&folder))]);
    buy_a_coat(&shop);
    let style = shop.ask("GET", "/style.css", "", "");
    assert!(style.contains("text/css") && !style.contains("set-cookie"), "{style}");
}

#[test]
#[ignore = "needs chromium, chromedriver and selenium: tests/run"]
fn it_works_in_real_browsers() {
    let sessions = Peer::start(Kind::Ours).expect("the server starts");
    let folder = Folder::new();
    let database = sqlite(&folder);
    let url = sessions.url();
    let shop = Shop::start(&[("SESSIONS_URL", &url), ("DATABASE_URL", &database)]);
    let script = root().join("tests/clients/browser/shop.py");
    let mut command = Command::new(python());
    command.arg(script).arg(format!("http://{}", shop.address)).arg(&url);
    // To look at them: CLOAKROOM_PICTURES=FOLDER cargo test ... -- --ignored browsers
    command.args(std::env::var_os("CLOAKROOM_PICTURES"));
    let output = command.stdin(Stdio::null()).output().expect("Python is installed (tests/run)");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let ok = output.status.success() && out.trim_end().ends_with("ok");
    assert!(ok, "{}\n{out}\n{err}", output.status);
}

/// A PostgreSQL of this test's own. It ends when this is dropped.
struct Postgres {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Postgres {
    fn start() -> Postgres {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
        let versions = versions.map(|version| version.expect("readable").path().join("bin"));
        let programs = versions.max().expect("a version is installed");
        let folder = Folder::new();
        let data = folder.path().join("data");
        must_succeed(Command::new("chmod").arg("777").arg(folder.path()));
        let mut make = as_a_user(&programs.join("initdb"));
        must_succeed(make.args(["--auth=trust", "--username=shop", "-D"]).arg(&data));
        // Another process may take the port between our look and the server's bind.
        for _ in 0..20 {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let port = listener.local_addr().expect("an address").port();
            drop(listener);
            let mut serve = as_a_user(&programs.join("postgres"));
            serve.arg("-D").arg(&data).args(["-p", &port.to_string()]);
            serve.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
            let mut child = serve.stderr(Stdio::null()).spawn().expect("it starts");
            if is_ready(&mut child, &data) {
                return Postgres { child, port, _folder: folder };
            }
        }
        panic!("postgres found no free port");
    }
}

/// Waits until the server has written that it is ready; false if it has ended. That somebody listens at
/// its port does not say who.
fn is_ready(child: &mut Child, data: &Path) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        let told = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = told.lines();
        let own = lines.next() == Some(&child.id().to_string());
        if own && lines.last().is_some_and(|line| line.trim_end() == "ready") {
            return true;
        }
        if child.try_wait().expect("it can be asked").is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the server is not ready");
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: it ends at once and in order, its helpers too.
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// PostgreSQL refuses to run as root; Debian's package made a user for it.
fn as_a_user(program: &Path) -> Command {
    let id = Command::new("id").arg("-u").output().expect("there is id");
    if id.stdout.trim_ascii() != b"0" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
    command
}

fn must_succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("it is installed (tests/run)");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {err}");
}

#[test]
#[ignore = "needs postgresql: tests/run"]
fn it_keeps_its_orders_in_postgresql_too() {
    let postgres = Postgres::start();
    let database = format!("postgres://shop@127.0.0.1:{}/postgres", postgres.port);
    buy_a_coat(&Shop::start(&[("DATABASE_URL", &database)]));
}
