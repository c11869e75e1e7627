//! What a run has to say: tables on standard output, and, if wished, in docs/performance.md with
//! their plots.
//!
//! That page is written by hand but for what stands between its markers, `<!-- begin NAME -->` and
//! `<!-- end NAME -->`: each measure puts its own there and leaves all others as they are.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use crate::goals::{self, Figure, Goal, Reached};
use crate::plot::{self, Bars, Curves};
use crate::table::Table;

/// Where the plots go, seen from docs/.
const PLOTS: &str = "plots";

/// The tables and plots of a run, in the order of their measures.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sections: Vec<Section>,
    reached: Vec<Reached>,
}

#[derive(Debug)]
struct Section {
    /// Its place on the page.
    name: &'static str,
    title: String,
    table: Table,
    plots: Vec<Plot>,
}

/// The place of the goals.
const TARGETS: &str = "targets";

/// The places of the measures on the page.
const PLACES: &[&str] = &[
    "throughput",
    "latency",
    "memory",
    "expiry",
    "mass",
    "growth",
    "growth-alone",
    "refresh",
    "snapshot",
    "replica",
    "synchronization",
    "start",
    "embedded",
    "client",
    "threads",
    "gate",
    "thread-instructions",
];

/// A plot and the name of its file.
#[derive(Debug)]
pub(crate) enum Plot {
    Bars(&'static str, Bars),
    Curves(&'static str, Curves),
}

impl Report {
    /// Prints a table and keeps it, with its plots, for its place on the page.
    pub(crate) fn add(&mut self, name: &'static str, title: &str, table: Table, plots: Vec<Plot>) {
        debug_assert!(PLACES.contains(&name), "{name} has no place on the page");
        print(title, &table);
        self.sections.push(Section { name, title: title.to_owned(), table, plots });
    }

    /// Keeps what was measured of a goal.
    pub(crate) fn reach(&mut self, goal: Goal, figures: impl IntoIterator<Item = Figure>) {
        self.reached.push(Reached::new(goal, figures));
    }

    /// Prints the goals that were measured.
    pub(crate) fn conclude(&self) {
        if !self.reached.is_empty() {
            print("Targets, and what this run measured", &goals::table(&self.reached));
        }
    }

    /// Puts what was measured into docs/performance.md and docs/plots/*.svg.
    pub(crate) fn write(&self, servers: &[String]) -> io::Result<()> {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        std::fs::create_dir_all(docs.join(PLOTS))?;
        let page = docs.join("performance.md");
        let mut text = std::fs::read_to_string(&page)?;
        let goals = goals::table_over(between(&text, TARGETS)?[1], &self.reached);
        text = between_markers(&text, TARGETS, &goals.markdown())?;
        let origin = format!("{}, on {}", servers.join(", "), machine());
        for section in &self.sections {
            text = between_markers(&text, section.name, &section.markdown(&origin))?;
            for (name, svg) in section.plots.iter().map(Plot::draw) {
                std::fs::write(docs.join(PLOTS).join(format!("{name}.svg")), svg?)?;
            }
        }
        std::fs::write(page, text)
    }
}

impl Section {
    fn markdown(&self, origin: &str) -> String {
        let Section { title, table, plots, .. } = self;
        let mut text = format!("{title} ({origin}):\n\n{}", table.markdown());
        for plot in plots {
            text += &format!("\n![{title}]({PLOTS}/{}.svg)\n", plot.name());
        }
        text
    }
}

impl Plot {
    fn name(&self) -> &'static str {
        match self {
            Plot::Bars(name, _) | Plot::Curves(name, _) => name,
        }
    }

    fn draw(&self) -> (&'static str, io::Result<String>) {
        let svg = match self {
            Plot::Bars(_, bars) => plot::bars(bars),
            Plot::Curves(_, curves) => plot::curves(curves),
        };
        (self.name(), svg)
    }
}

fn print(title: &str, table: &Table) {
    let text = format!("\n{title}\n\n{}", table.markdown());
    // Nobody reads it where standard output is closed.
    let _ = io::stdout().write_all(text.as_bytes());
}

/// The page with this text in the place of that name.
fn between_markers(page: &str, name: &str, text: &str) -> io::Result<String> {
    let [before, _, after] = between(page, name)?;
    Ok(format!("{before}\n\n{text}\n{after}"))
}

/// The page up to the marker that begins the place of that name, what is in it, and the rest from the
/// marker that ends it.
fn between<'p>(page: &'p str, name: &str) -> io::Result<[&'p str; 3]> {
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let place = page.find(&begin).map(|at| at + begin.len());
    let parts = place.and_then(|from| Some([from, from + page[from..].find(&end)?]));
    let [from, to] = parts.ok_or_else(|| {
        io::Error::other(format!("docs/performance.md has no place between {begin} and {end}"))
    })?;
    Ok([&page[..from], &page[from..to], &page[to..]])
}

/// Processor, cores and kernel, as far as the system says.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    // Not those that this process may run on: it keeps to one.
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = Command::new("uname").arg("-sr").output().map(|output| output.stdout);
    let kernel = String::from_utf8_lossy(&kernel.unwrap_or_default()).trim().to_owned();
    format!("{} ({cores} cores, {kernel})", model.map_or("an unknown processor", str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_takes_its_place_and_leaves_the_rest() {
        let page =
            "# Page\n<!-- begin a -->\nold\n<!-- end a -->\n<!-- begin b -->b<!-- end b -->\n";
        let written = between_markers(page, "a", "new").expect("there is a place");
        let expected =
            "# Page\n<!-- begin a -->\n\nnew\n<!-- end a -->\n<!-- begin b -->b<!-- end b -->\n";
        assert_eq!(written, expected);
        assert!(between_markers(page, "c", "new").is_err());
    }

    #[test]
    fn every_measure_has_its_place_on_the_page() {
        let page = include_str!("../../docs/performance.md");
        for name in PLACES.iter().chain([&TARGETS]) {
            between_markers(page, name, "").unwrap_or_else(|error| panic!("{error}"));
        }
    }
}
