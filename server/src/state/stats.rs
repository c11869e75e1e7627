//! What is counted: by command, by error code, and in all.

use std::collections::BTreeMap;

use crate::session::Traffic;

/// Counters since the start or CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub struct Stats {
    /// By command number.
    pub commands: Vec<CommandStats>,
    /// Errors by their code (`ERR`, `WRONGTYPE`).
    pub errors: BTreeMap<String, u64>,
    /// Commands executed.
    pub total_commands: u64,
    /// What has gone through connections that have ended.
    pub past_traffic: Traffic,
    /// Error replies.
    pub error_replies: u64,
    /// Requests of the primary's stream that could not be executed.
    pub unexpected_errors: u64,
    /// Keys deleted because their time was over.
    pub expired_keys: u64,
    /// Fields deleted because their time was over.
    pub expired_fields: u64,
    /// Microseconds that deleting what is due took.
    pub expire_micros: u64,
    /// Keys evicted for memory.
    pub evicted_keys: u64,
    /// Clients evicted for memory.
    pub evicted_clients: u64,
    /// Clients closed for `client-query-buffer-limit`.
    pub over_query_limit: u64,
    /// Clients closed for `client-output-buffer-limit`.
    pub over_output_limit: u64,
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
    /// Executions by the power of two of their microseconds.
    pub histogram: [u32; 32],
    /// Refused before they were executed.
    pub rejected: u64,
    /// Executed, and answered with an error.
    pub failed: u64,
}

impl CommandStats {
    /// Counts an execution; in the histogram too if it is `tracked`.
    #[inline]
    pub fn count(&mut self, micros: u64, ok: bool, tracked: bool) {
        self.calls += 1;
        self.micros += micros;
        self.failed += u64::from(!ok);
        if tracked {
            let power = (64 - micros.leading_zeros() as usize).min(31);
            self.histogram[power] = self.histogram[power].saturating_add(1);
        }
    }

    /// Whether the histogram has counted anything.
    pub fn is_tracked(&self) -> bool {
        self.histogram.iter().any(|count| *count > 0)
    }

    /// The microseconds that this share of executions did not exceed, to the next power of two.
    pub fn percentile(&self, share: f64) -> f64 {
        let total: u64 = self.histogram.iter().map(|count| u64::from(*count)).sum();
        let wanted = (total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (power, count) in self.histogram.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return ((1u64 << power) - 1) as f64;
            }
        }
        0.0
    }
}

/// No more error codes than this are told apart (a script can invent them).
const MOST_ERROR_CODES: usize = 128;

impl Stats {
    /// Counters at zero for so many commands.
    pub fn new(commands: usize) -> Self {
        Stats { commands: vec![CommandStats::default(); commands], ..Stats::default() }
    }

    /// Counts an error reply by its text, the code first.
    pub fn error(&mut self, text: &[u8]) {
        self.error_replies += 1;
        let end = text.iter().position(|byte| *byte == b' ');
        let code = end.map_or(b"ERR".as_slice(), |end| &text[..end]);
        let code = &*String::from_utf8_lossy(code);
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < MOST_ERROR_CODES {
            self.errors.insert(code.to_owned(), 1);
        }
    }
}
