//! The command line: flags made from the table of settings.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command};

use super::{Config, SETTINGS, settings};

/// What arguments and files came to.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What the operator should know, a line each.
    pub warnings: Vec<String>,
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
    pub(super) fn new(text: impl Into<String>) -> Self {
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
        let found = command().try_get_matches_from(args).map_err(refused)?;
        let mut loaded = Loaded { config: Config::default(), file: None, warnings: Vec::new() };
        if let Some(file) = found.get_one::<OsString>("FILE") {
            let file = PathBuf::from(file);
            loaded.read_file(&file, 0)?;
            loaded.file = Some(std::path::absolute(&file).unwrap_or(file));
        }
        for name in names() {
            let Some(values) = found.get_many::<String>(name) else { continue };
            let values: Vec<&str> = values.map(String::as_str).collect();
            let at = format!("--{name}");
            match name {
                // Said several times, these make one value; of others the last one counts.
                "bind" | "client-output-buffer-limit" | "save" => {
                    loaded.set(name, &values.join(" "), &at)?;
                }
                _ => loaded.set(name, values.last().copied().unwrap_or("yes"), &at)?,
            }
        }
        Ok(loaded)
    }
}

impl Loaded {
    /// Sets one directive that stands at `at`.
    pub(super) fn set(&mut self, name: &str, value: &str, at: &str) -> Result<(), ConfigError> {
        match self.config.set_at_start(name, value) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.warnings.push(format!("{at}: {name} is accepted and means nothing here"));
                Ok(())
            }
            Err(Some(why)) => {
                Err(ConfigError::new(format!("{at}: {name} cannot be \"{value}\": {why}")))
            }
            Err(None) => {
                let nearest = names()
                    .max_by(|a, b| {
                        strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name))
                    })
                    .unwrap_or_default();
                Err(ConfigError::new(format!(
                    "{at}: there is no setting \"{name}\"; the nearest is \"{nearest}\""
                )))
            }
        }
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().flat_map(|setting| setting.names()).chain(settings::INERT.iter().map(|i| i.0))
}

fn command() -> Command {
    let file = Arg::new("FILE")
        .help("A config file in redis.conf's syntax, read before the flags")
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
    let inert = settings::INERT.iter().map(|(name, _)| flag(name).hide(true));
    Command::new("cloakroom")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A session server that speaks the Redis protocol")
        .after_help(
            "Redis's other directives are accepted, with a warning where they mean nothing.",
        )
        .arg(file)
        .args(live)
        .args(inert)
}

fn flag(name: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .action(ArgAction::Append)
        .value_parser(clap::value_parser!(String));
    match name {
        // These take several words, which must not be taken for the next flag.
        "bind" | "client-output-buffer-limit" | "save" => arg.num_args(1..),
        _ => arg.num_args(1).allow_hyphen_values(true),
    }
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
