//! The command line: flags made from the table of settings.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use super::{Config, Directive, SETTINGS, settings};

/// What arguments and files came to.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What the operator should know, a line each.
    pub warnings: Vec<String>,
    /// `save` has been said: a further one adds to it.
    has_said_save: bool,
}

/// Why the settings cannot be used, in a line that says how to mend it; or what `--help` and
/// `--version` print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    text: String,
    /// It is no error but what was asked for.
    pub is_help: bool,
}

impl ConfigError {
    /// An error of this text.
    pub fn new(text: impl Into<String>) -> Self {
        ConfigError { text: text.into(), is_help: false }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the command line, and the config file that it names first.
    ///
    /// # Errors
    ///
    /// A flag or directive that is unknown, a value that is not permitted, an unreadable file.
    pub fn from_args<I>(args: I) -> Result<Loaded, ConfigError>
    where
        I: IntoIterator<Item = OsString>,
    {
        let found = command().try_get_matches_from(join_words(args)).map_err(refused)?;
        let mut loaded = Loaded::new();
        if let Some(file) = found.get_one::<OsString>("FILE") {
            loaded.read_first(PathBuf::from(file))?;
        }
        for name in names() {
            let Some(values) = found.get_many::<String>(name) else { continue };
            let values: Vec<&str> = values.map(String::as_str).collect();
            if LINES.iter().any(|(known, ..)| *known == name) {
                for value in values {
                    repeat(&mut loaded.config, name, value)?;
                }
            } else if REPEATED.contains(&name) {
                // Said several times, these make one value; of others the last one counts.
                loaded.set(name, &values.join(" "), None)?;
            } else {
                loaded.set(name, values.last().copied().unwrap_or("yes"), None)?;
            }
        }
        loaded.spare_fixtures_the_disk();
        Ok(loaded)
    }

    /// Reads the text of a config file; what it includes lies in the working directory.
    ///
    /// ```
    /// let loaded = cloakroom::Config::from_text("port 7000\nmaxmemory 100mb")?;
    /// assert_eq!((loaded.config.port, loaded.config.maxmemory), (7000, 100 << 20));
    /// # Ok::<(), cloakroom::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A directive that is unknown, a value that is not permitted, an unreadable included file.
    pub fn from_text(text: &str) -> Result<Loaded, ConfigError> {
        let mut loaded = Loaded::new();
        loaded.read_text(text, Path::new("the text"), 0)?;
        Ok(loaded)
    }
}

/// Takes one of the directives that may be repeated; all its words are one argument.
fn repeat(config: &mut Config, name: &str, value: &str) -> Result<(), ConfigError> {
    let at = format!("--{name}");
    let words = super::file::words(value.as_bytes())
        .ok_or_else(|| ConfigError::new(format!("{at}: quotes do not close")))?;
    let words = words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    config.repeat(name, Directive { at, words });
    Ok(())
}

impl Loaded {
    pub(super) fn new() -> Self {
        let config = Config::default();
        Loaded { config, file: None, warnings: Vec::new(), has_said_save: false }
    }

    /// A fixture that was told nothing of saving leaves no file behind, for the next test to load.
    fn spare_fixtures_the_disk(&mut self) {
        let is_fixture = self.config.exit_with_parent || self.config.test_control;
        if is_fixture && !self.has_said_save {
            self.config.save.clear();
        }
    }

    /// Sets one directive that stands at `at`, a place in a file; None: it is a flag.
    pub(super) fn set(
        &mut self,
        name: &str,
        value: &str,
        at: Option<&str>,
    ) -> Result<(), ConfigError> {
        let said = match at {
            Some(at) => format!("{at}: {name}"),
            None => format!("--{name}"),
        };
        let earlier = self.config.save.clone();
        match self.config.set_at_start(name, value) {
            Ok(false) => {
                // The first `save` takes the default's place, each further one adds to it.
                let is_save = name.eq_ignore_ascii_case("save");
                if is_save && std::mem::replace(&mut self.has_said_save, true) && !value.is_empty()
                {
                    self.config.save.splice(..0, earlier);
                }
                Ok(())
            }
            Ok(true) => {
                self.warnings.push(format!("{said} is accepted and means nothing here"));
                Ok(())
            }
            Err(Some(why)) => Err(ConfigError::new(format!("{said} cannot be \"{value}\": {why}"))),
            Err(None) => {
                let nearest = names()
                    .max_by(|a, b| {
                        strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name))
                    })
                    .unwrap_or_default();
                Err(ConfigError::new(format!(
                    "{}: there is no setting \"{name}\"; the nearest is \"{nearest}\"",
                    at.unwrap_or("the flags")
                )))
            }
        }
    }
}

/// Directives that may be said several times, each adding to the others.
const REPEATED: &[&str] = &["bind", "client-output-buffer-limit", "save", "replicaof", "slaveof"];

/// Whether a directive takes several words. What means nothing here takes whatever it is given, and
/// what is unknown is told of elsewhere.
pub(super) fn takes_words(name: &str) -> bool {
    settings::find(name).is_none_or(|setting| setting.takes.contains(' '))
}

/// Makes one argument of a flag and its several words: as in Redis, all up to the next `--`.
fn join_words(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    let mut words = None;
    for arg in args.into_iter().flat_map(apart) {
        let text = arg.to_string_lossy();
        let flag = text.strip_prefix("--");
        match (flag, words, joined.last_mut()) {
            (None, Some(count), Some(last)) => {
                last.push(if count == 0 { "=" } else { " " });
                // A word of nothing (`--rename-command KEYS ''`) is one only between quotes.
                last.push(if arg.is_empty() && count > 0 { OsStr::new("\"\"") } else { &arg });
                words = Some(count + 1);
                continue;
            }
            (Some(name), _, _) => words = takes_words(name).then_some(0),
            _ => {}
        }
        joined.push(arg);
    }
    joined
}

/// A flag and its value where they are one argument, as a shell's quotes make it: `'--port 7000'`.
fn apart(arg: OsString) -> Vec<OsString> {
    match arg.to_str().filter(|text| text.starts_with("--")).and_then(|text| text.split_once(' ')) {
        Some((flag, value)) => vec![flag.into(), value.trim_start().into()],
        None => vec![arg],
    }
}

/// Directives that are lines of words and may be repeated, what they take, and what they are for.
pub const LINES: &[(&str, &str, &str)] = &[
    ("user", "name rule ...", "A user and its rules, as ACL SETUSER takes them; may be repeated."),
    (
        "rename-command",
        "name new-name",
        "Another name for a command, \"\" for none; may be repeated.",
    ),
];

fn names() -> impl Iterator<Item = &'static str> {
    LINES.iter().map(|(name, ..)| *name).chain(settings())
}

/// The names of all settings.
fn settings() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|setting| setting.names()).chain(settings::INERT.iter().map(|i| i.0))
}

fn command() -> Command {
    let file = Arg::new("FILE")
        .help("A config file in redis.conf's syntax, read first; it stands before the flags")
        .value_parser(clap::value_parser!(OsString));
    let live = SETTINGS.iter().flat_map(|setting| {
        setting.names().map(move |name| {
            let arg = flag(name).value_name(setting.takes).help(setting.doc);
            let arg = arg.hide(name != setting.name);
            if setting.is_switch() {
                arg.num_args(0..=1).allow_hyphen_values(false).default_missing_value("yes")
            } else {
                arg
            }
        })
    });
    let repeated = LINES.iter().map(|(name, takes, doc)| flag(name).value_name(*takes).help(*doc));
    let inert = settings::INERT.iter().map(|(name, _)| flag(name).hide(true));
    Command::new("cloakroom")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A session server that speaks the Redis protocol")
        .after_help(
            "Redis's other directives are accepted, with a warning where they mean nothing.",
        )
        .arg(file)
        .args(live)
        .args(repeated)
        .args(inert)
}

fn flag(name: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .action(ArgAction::Append)
        .value_parser(clap::value_parser!(String));
    arg.num_args(1).allow_hyphen_values(true)
}

fn refused(error: clap::Error) -> ConfigError {
    use clap::error::ErrorKind;
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_help {
        return ConfigError { text: error.to_string(), is_help };
    }
    // Clap's first line says what is wrong, its tip what to write instead.
    let text = error.to_string();
    let line = |start: &str| {
        text.lines().map(str::trim).find_map(|line| line.strip_prefix(start).map(str::trim))
    };
    let what = line("error:").unwrap_or("the arguments cannot be understood");
    let tip = line("tip:").unwrap_or("see --help");
    ConfigError::new(format!("{what}; {tip}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Result<Loaded, String> {
        let args = std::iter::once("cloakroom").chain(args.iter().copied()).map(OsString::from);
        Config::from_args(args).map_err(|error| error.to_string())
    }

    #[test]
    fn a_fixture_saves_only_when_it_is_told_to() {
        let points = |args: &[&str]| load(args).expect("they are right").config.save.len();
        assert_eq!(
            (points(&[]), points(&["--exit-with-parent"]), points(&["--test-control"])),
            (3, 0, 0)
        );
        assert_eq!(points(&["--test-control", "--save", "60", "1"]), 1);
    }

    #[test]
    fn flags_are_directives() {
        let loaded = load(&[
            "--port",
            "0",
            "--bind",
            "127.0.0.1",
            "::1",
            "--maxmemory",
            "100mb",
            "--test-control",
            "--slowlog-log-slower-than",
            "-1",
        ])
        .expect("they are right");
        let config = loaded.config;
        assert_eq!((config.port, config.maxmemory, config.test_control), (0, 100 << 20, true));
        assert_eq!(
            (config.bind.join(" ").as_str(), config.slowlog_log_slower_than),
            ("127.0.0.1 ::1", -1)
        );
    }

    #[test]
    fn a_flag_and_its_value_may_be_one_argument() {
        let config =
            load(&["--port 7000", "--save 60 1", "--maxmemory=1mb"]).expect("right").config;
        assert_eq!((config.port, config.maxmemory, config.save.len()), (7000, 1 << 20, 1));
        assert!(load(&["--prot 7000"]).is_err_and(|why| why.contains("--port")));
    }

    #[test]
    fn save_points_add_up() {
        let saves = |args: &[&str]| {
            let config = load(args).expect("they are right").config;
            config.get(|name| name == "save")[0].1.clone()
        };
        assert_eq!(saves(&[]), "3600 1 300 100 60 10000");
        assert_eq!(saves(&["--save", "900", "1", "--save", "60", "5"]), "900 1 60 5");
        assert_eq!(saves(&["--save", ""]), "");
        let path = std::env::temp_dir().join(format!("cloakroom-save-{}.conf", std::process::id()));
        std::fs::write(&path, "save 900 1\nsave 300 10\n").expect("it can be written");
        let file = path.to_str().expect("a plain path");
        assert_eq!(saves(&[file]), "900 1 300 10");
        assert_eq!(saves(&[file, "--save", "60 7"]), "900 1 300 10 60 7");
        assert_eq!(saves(&[file, "--save", ""]), "");
        std::fs::remove_file(&path).expect("it was there");
    }

    #[test]
    fn users_and_renamed_commands_are_lines_of_words() {
        let loaded = load(&[
            "--user",
            "ann",
            "on",
            ">x",
            "-@all",
            "(+get ~a)",
            "--user",
            "bob on",
            "--rename-command",
            "KEYS",
            "",
            "--rename-command",
            "GET FETCH",
        ])
        .expect("they are right");
        let words = |lines: &[Directive]| -> Vec<Vec<String>> {
            lines.iter().map(|line| line.words.clone()).collect()
        };
        let users: [&[&str]; 2] = [&["ann", "on", ">x", "-@all", "(+get", "~a)"], &["bob", "on"]];
        assert_eq!(words(&loaded.config.users), users);
        assert_eq!(words(&loaded.config.renamed_commands), [["KEYS", ""], ["GET", "FETCH"]]);
    }

    #[test]
    fn mistakes_are_told_in_one_line() {
        for (args, part) in [
            (&["--prot", "1"][..], "--port"),
            (&["--port", "99999"], "between 0 and 65535"),
            (&["/no/such/file.conf"], "cannot read the config file"),
        ] {
            let error = load(args).expect_err("they are wrong");
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_file_names_the_line_and_the_nearest_directive() {
        let path = std::env::temp_dir().join(format!("cloakroom-{}.conf", std::process::id()));
        std::fs::write(&path, "# a comment\nport 7001\nappendonly yes\nmaxmemry 1mb\n")
            .expect("it can be written");
        let error = load(&[path.to_str().expect("a plain path")]).expect_err("maxmemry is wrong");
        std::fs::write(&path, "port 7001\nappendonly yes\n").expect("it can be written");
        let loaded =
            load(&[path.to_str().expect("a plain path"), "--port", "7002"]).expect("right");
        std::fs::remove_file(&path).expect("it was there");
        assert!(error.contains("line 4") && error.contains("\"maxmemory\""), "{error}");
        assert_eq!((loaded.config.port, loaded.warnings.len()), (7002, 1));
    }
}
