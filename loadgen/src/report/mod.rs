//! What a run is shown as: a page with charts (`--report`), the charts alone (`--svg`), and HdrHistogram's files (`--hdr`). All
//! of it comes from a [`Recording`]; nothing is measured here.
//!
//! ```text
//! Recording --columns--> figures --plot--> markup --> page (HTML), drawing (SVG)
//!           '--hdr-----> PREFIX.hlog, PREFIX.hgrm
//! ```

pub mod closeup;
mod columns;
mod figures;
mod hdr;
mod markup;
mod page;
mod plot;
pub mod scale;
mod style;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{Failure, While};
use crate::recording::{Recording, Verdict};
use closeup::Closeup;
use markup::{Markup, pixels};
use plot::{Plot, WIDTH};

/// Height of the heading above the charts of a drawing.
const HEADING: f64 = 76.0;
/// Left of the heading.
const MARGIN: f64 = 16.0;

/// The files a run is written to.
#[derive(Args, Clone, Debug, Default)]
pub struct Outputs {
    /// Write a page with charts to this file; it needs nothing else and opens in any browser
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the charts as a drawing to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write HdrHistogram's interval log to PREFIX.hlog and the percentile distribution to PREFIX.hgrm
    #[arg(long, value_name = "PREFIX")]
    hdr: Option<PathBuf>,
}

/// What a kind of run shows beyond what all runs have.
#[derive(Default)]
pub struct Addition {
    /// Names and values that stand first.
    pub headline: Vec<(String, String)>,
    /// The time around kills. A drawing shows it instead of the whole run.
    pub closeup: Option<Closeup>,
    /// Tables behind it.
    pub tables: Vec<Table>,
}

/// A table of the page.
pub struct Table {
    /// What it tells.
    pub caption: String,
    /// Names of its columns.
    pub head: Vec<String>,
    /// As many cells as there are columns, each.
    pub rows: Vec<Vec<String>>,
    /// Whether its cells are words rather than figures, which stand below each other at their ends.
    pub words: bool,
}

/// Rows of a table that are shown at once; a longer one is folded until its reader opens it.
const ROWS_SHOWN: usize = 20;

impl Outputs {
    /// Makes sure that the files can be written, so that a mistyped path is told before the run and not after it.
    ///
    /// # Errors
    /// When one of them cannot be made; the sentence names it.
    pub fn check(&self) -> Result<(), Failure> {
        for file in self.files() {
            fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&file)
                .during(format_args!("{} cannot be written", file.display()))?;
        }
        Ok(())
    }

    /// Writes the files that were asked for.
    ///
    /// # Errors
    /// When one of them cannot be written; the sentence names it.
    pub fn write(&self, recording: &Recording) -> Result<(), Failure> {
        self.write_with(recording, &Addition::default())
    }

    /// The same with what this kind of run adds.
    ///
    /// # Errors
    /// When one of the files cannot be written; the sentence names it.
    pub fn write_with(&self, recording: &Recording, addition: &Addition) -> Result<(), Failure> {
        if let Some(file) = &self.report {
            write(file, page::page(recording, addition).as_bytes())?;
        }
        if let Some(file) = &self.svg {
            write(file, drawing(recording, addition).as_bytes())?;
        }
        if let Some(prefix) = &self.hdr {
            write(&with_ending(prefix, ".hlog"), &hdr::interval_log(recording)?)?;
            write(&with_ending(prefix, ".hgrm"), hdr::percentiles(&recording.latencies).as_bytes())?;
        }
        Ok(())
    }

    fn files(&self) -> Vec<PathBuf> {
        let hdr = self.hdr.iter().flat_map(|prefix| [".hlog", ".hgrm"].map(|ending| with_ending(prefix, ending)));
        self.report.iter().chain(&self.svg).cloned().chain(hdr).collect()
    }
}

fn write(file: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(file, content).during(format_args!("writing {}", file.display()))
}

/// The path with an ending behind its last name, whatever dots that has.
fn with_ending(prefix: &Path, ending: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

/// The charts below each other: of a run with a close-up the close-up, of every other one throughput and latency over time and by
/// percentile.
fn drawing(recording: &Recording, addition: &Addition) -> String {
    let columns = columns::columns(recording, page::COLUMNS_MAX);
    let plots = match &addition.closeup {
        Some(closeup) => closeup.plots().into_iter().collect::<Vec<_>>(),
        None => [figures::throughput(&columns, &recording.marks), figures::latency(&columns, &recording.marks)]
            .into_iter()
            .chain(figures::percentiles(&recording.latencies))
            .collect(),
    };
    let height = HEADING + plots.iter().map(Plot::full_height).sum::<f64>();
    let mut out = Markup::default();
    let size = format!("0 0 {} {}", pixels(WIDTH), pixels(height));
    out.open(
        "svg",
        &[
            ("xmlns", "http://www.w3.org/2000/svg"),
            ("class", "figure"),
            ("viewBox", &size),
            ("width", &pixels(WIDTH)),
            ("height", &pixels(height)),
            ("role", "img"),
            ("aria-labelledby", "title description"),
        ],
    );
    out.element("title", &[("id", "title")], &recording.title);
    let descriptions = plots.iter().map(|plot| plot.description.as_str()).collect::<Vec<_>>();
    out.element("desc", &[("id", "description")], &descriptions.join(" "));
    out.style(&style::of_drawings());
    out.empty("rect", &[("class", "paper"), ("width", "100%"), ("height", "100%"), ("rx", "10")]);
    heading(recording, &mut out);
    let mut top = HEADING;
    for mut plot in plots {
        plot.tips.clear(); // a drawing is mostly shown as a picture, which has no pointer
        let place = format!("translate(0 {})", pixels(top));
        out.open("g", &[("transform", &place)]);
        plot.draw(&mut out);
        out.close("g");
        top += plot.full_height();
    }
    out.close("svg");
    format!("{}\n", out.finish())
}

fn heading(recording: &Recording, out: &mut Markup) {
    let mut lines = vec![("heading", 30.0, recording.title.clone()), ("note", 49.0, page::machine(&recording.machine))];
    if let Verdict::Invalid { reasons } = &recording.verdict {
        lines.push(("moment", 66.0, format!("Invalid: {}", reasons.join("; "))));
    }
    for (class, y, words) in lines {
        out.element("text", &[("class", class), ("x", &pixels(MARGIN)), ("y", &pixels(y))], &words);
    }
    out.line();
}

#[cfg(test)]
mod tests;
