//! What the project means to reach, and what a run has reached of it: the table that a run ends with,
//! and the first one of docs/performance.md.

use crate::table::Table;

/// A line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    CpuOneAWrite,
    CpuVisit,
    CpuSessions,
    CpuHget,
    Throughput,
    Latency,
    Memory,
    OtherSessions,
    Lateness,
    Mass,
    Refresh,
    Growth,
    Start,
    Resident,
    Embedded,
    Client,
    Threads,
}

impl Goal {
    const ALL: [Goal; 17] = [
        Goal::CpuOneAWrite,
        Goal::CpuVisit,
        Goal::CpuSessions,
        Goal::CpuHget,
        Goal::Throughput,
        Goal::Latency,
        Goal::Memory,
        Goal::OtherSessions,
        Goal::Lateness,
        Goal::Mass,
        Goal::Refresh,
        Goal::Growth,
        Goal::Start,
        Goal::Resident,
        Goal::Embedded,
        Goal::Client,
        Goal::Threads,
    ];

    /// What is measured, what it is to be, and which measure finds out.
    fn text(self) -> [&'static str; 3] {
        match self {
            Goal::CpuOneAWrite => [
                "server CPU an operation, visit and mixed, 1 a write",
                "≤ 0.75 × Redis 7.0",
                "`throughput`",
            ],
            Goal::CpuVisit => ["visit, 32 a write", "≤ 0.45 ×", "`throughput`"],
            Goal::CpuSessions => ["mixed, read, login, 32 a write", "≤ 0.50 ×", "`throughput`"],
            Goal::CpuHget => ["hget, 32 a write", "≤ 0.70 ×", "`throughput`"],
            Goal::Throughput => ["throughput of each of these", "≥ 1 / its limit", "`throughput`"],
            Goal::Latency => {
                ["p99 · p99.9 at half of Redis's peak load, open loop", "≤ Redis's", "`latency`"]
            }
            Goal::Memory => [
                "resident bytes a session of 8 fields × 32 B, before and after churn",
                "≤ 0.65 × Redis, ≤ 330 when filled",
                "`memory --churn 10`",
            ],
            Goal::OtherSessions => {
                ["own names, values of 1 KiB, strings", "≤ 0.80 × Redis", "`memory`"]
            }
            Goal::Lateness => [
                "lateness of 1,000,000 `expired` events within 5 s",
                "p99 ≤ 10 ms, max ≤ 50 ms, never early",
                "`expiry`",
            ],
            Goal::Mass => [
                "1,000,000 sessions ending in one second, under mixed load",
                "p99 ≤ 3 × quiet, all gone within 1 s",
                "`mass`",
            ],
            Goal::Refresh => [
                "a deadline refreshed 100 times a session",
                "no growth of memory or of CPU",
                "`growth`",
            ],
            Goal::Growth => {
                ["10 million sessions: worst reply while the table grows", "≤ 5 ms", "`growth`"]
            }
            Goal::Start => ["process start to first PONG", "≤ 3 ms", "`start`"],
            Goal::Resident => ["resident when empty", "≤ 5 MiB", "`start`"],
            Goal::Embedded => ["embedded start to first reply, in process", "≤ 500 µs", "`start`"],
            Goal::Client => [
                "a session loaded and touched by the client, and by the bare `redis` crate with the same commands",
                "≤ 1.15 ×, one round trip each",
                "`client`",
            ],
            Goal::Threads => {
                ["two worker threads against one", "CPU an operation within 10 %", "`threads`"]
            }
        }
    }
}

/// What was measured of one goal.
#[derive(Debug)]
pub(crate) struct Reached {
    goal: Goal,
    figures: String,
}

/// One of a goal's figures, and whether it is what it is to be.
pub(crate) type Figure = (String, bool);

impl Reached {
    pub(crate) fn new(goal: Goal, figures: impl IntoIterator<Item = Figure>) -> Self {
        let cell = |(text, is_reached)| if is_reached { text } else { format!("{text} (missed)") };
        let figures = figures.into_iter().map(cell).collect::<Vec<String>>().join(" · ");
        Reached { goal, figures }
    }
}

const HEAD: [&str; 4] = ["what", "target", "measured", "measure"];

/// The goals that this run has measured.
pub(crate) fn table(reached: &[Reached]) -> Table {
    let mut table = Table::new(HEAD);
    for Reached { goal, figures } in reached {
        let [what, target, measure] = goal.text();
        table.row([what, target, figures, measure]);
    }
    table
}

/// All goals; those that this run has not measured as `page`, an earlier table, has them.
pub(crate) fn table_over(page: &str, reached: &[Reached]) -> Table {
    let mut table = Table::new(HEAD);
    for goal in Goal::ALL {
        let [what, target, measure] = goal.text();
        let new = reached.iter().rfind(|reached| reached.goal == goal);
        let old = || figures_of(page, what).unwrap_or("–");
        table.row([what, target, new.map_or_else(old, |new| &new.figures), measure]);
    }
    table
}

/// The third cell of the row that begins with `what`.
fn figures_of<'p>(page: &'p str, what: &str) -> Option<&'p str> {
    page.lines().find_map(|line| {
        let mut cells = line.split('|').skip(1).map(str::trim);
        (cells.next() == Some(what)).then(|| cells.nth(1))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_replaces_its_row_and_leaves_the_rest() {
        let start = |took: &str, is_reached| Reached::new(Goal::Start, [(took.into(), is_reached)]);
        let threads = Reached::new(Goal::Threads, [("1.04".into(), true), ("1.2".into(), false)]);
        let first = table_over("", &[start("2.4 ms", true), threads]).markdown();
        let second = table_over(&first, &[start("3.7 ms", false)]).markdown();
        assert_eq!(figures_of(&first, Goal::Start.text()[0]), Some("2.4 ms"));
        assert_eq!(figures_of(&second, Goal::Start.text()[0]), Some("3.7 ms (missed)"));
        assert_eq!(figures_of(&second, Goal::Threads.text()[0]), Some("1.04 · 1.2 (missed)"));
        assert_eq!(figures_of(&second, Goal::Mass.text()[0]), Some("–"));
    }
}
