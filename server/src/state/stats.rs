//! What is counted: by command, by error code, and in all.

use std::collections::BTreeMap;

/// Counters since the start or CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub struct Stats {
    /// By command number.
    pub commands: Vec<CommandStats>,
    /// Errors by their code (`ERR`, `WRONGTYPE`).
    pub errors: BTreeMap<String, u64>,
    /// Commands executed.
    pub total_commands: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections turned away (`maxclients`).
    pub rejected_connections: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Keys deleted because their time was over.
    pub expired_keys: u64,
    /// Fields deleted because their time was over.
    pub expired_fields: u64,
    /// Keys evicted for memory.
    pub evicted_keys: u64,
    /// Clients evicted for memory.
    pub evicted_clients: u64,
    /// The most memory used so far.
    pub peak_memory: usize,
}

/// Counters of one command.
#[derive(Debug, Default, Clone)]
pub struct CommandStats {
    /// Executions.
    pub calls: u64,
    /// Microseconds that they took together.
    pub micros: u64,
    /// Refused before they were executed.
    pub rejected: u64,
    /// Executed, and answered with an error.
    pub failed: u64,
}

/// No more error codes than this are told apart (a script can invent them).
const MOST_ERROR_CODES: usize = 128;

impl Stats {
    /// Counters at zero for so many commands.
    pub fn new(commands: usize) -> Self {
        Stats { commands: vec![CommandStats::default(); commands], ..Stats::default() }
    }

    /// Counts an error reply by its text, the code first.
    pub fn error(&mut self, text: &str) {
        self.error_replies += 1;
        let code = text.split(' ').next().unwrap_or("ERR");
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < MOST_ERROR_CODES {
            self.errors.insert(code.to_owned(), 1);
        }
    }
}
