//! A recording with known figures is written in every form and read back.

use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use roxmltree::{Document, Node};

use super::closeup::{Answered, Part};
use super::*;
use crate::machine::Machine;
use crate::recording::{DIGITS_OF_INTERVAL, DIGITS_OF_RUN, Interval, Mark, histogram};

const LENGTH: Duration = Duration::from_millis(10);
/// Intervals of the recording, and the place of those in which nothing is answered.
const INTERVALS: u64 = 1_000;
const GAP: std::ops::Range<u64> = 501..504;

/// Ten seconds with 40 answers in each interval, none in three of them, and late ones behind these.
fn recording() -> Recording {
    let mut all = histogram(DIGITS_OF_RUN);
    let intervals = (0..INTERVALS).map(|number| {
        let mut latencies = histogram(DIGITS_OF_INTERVAL);
        let answers = if GAP.contains(&number) { 0 } else { 40 };
        for request in 0..answers {
            let late = if number == GAP.end { 1_000_000 * request } else { 0 };
            let ns = 200_000 + 5_000 * (request * number % 37) + late;
            latencies.record(ns).expect("within bounds");
            all.record(ns).expect("within bounds");
        }
        let (errors, unknown) = if number == GAP.start { (2, 3) } else { (0, 0) };
        let leader = Some(if number < GAP.start { "server1" } else { "server2" }.to_owned());
        Interval {
            start: LENGTH * number as u32,
            length: LENGTH,
            requests: answers,
            errors,
            unknown,
            latencies,
            leader,
        }
    });
    let intervals = intervals.collect();
    Recording {
        title: "A leader dies & another <takes over>".to_owned(),
        command: "loadgen failover --kill 'kill \"-9\" & wait'".to_owned(),
        machine: Machine { kernel: "6.18".to_owned(), cpu: "A CPU".to_owned(), cores: 2, commit: "abcdef0".to_owned() },
        parameters: vec![("rate".to_owned(), "4,000 a second".to_owned())],
        began: UNIX_EPOCH + Duration::from_millis(1_709_164_800_250),
        intervals,
        marks: vec![Mark { at: Duration::from_secs(5), label: "kill -9 of server1".to_owned() }],
        latencies: all,
        verdict: Verdict::Valid,
    }
}

fn closeup() -> Closeup {
    let bins = 100;
    let mut latencies = (0..bins).map(|_| histogram(DIGITS_OF_INTERVAL)).collect::<Vec<_>>();
    latencies.iter_mut().for_each(|bin| bin.record(300_000).expect("within bounds"));
    let counts = (0..bins).map(|bin| if (20..28).contains(&bin) { 0 } else { 10 }).collect();
    let part = |name: &str, class, from, to| Part { name: name.to_owned(), class, from, to };
    Closeup {
        kill: "kill -9 of the leader".to_owned(),
        kills: 1,
        bin: Duration::from_millis(1),
        bins_before: 20,
        answered: vec![Answered { name: "sets", class: "answered", counts }],
        latencies,
        parts: vec![part("connections end", "detection", 0.0, 0.001), part("first set", "first", 0.001, 0.008)],
    }
}

fn parse_page(text: &str) -> Document<'_> {
    let body = text.strip_prefix("<!DOCTYPE html>\n").expect("HTML's own document type");
    Document::parse(body).expect("well-formed")
}

fn all<'a>(document: &'a Document, name: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| node.has_tag_name(name) || node.tag_name().name() == name)
}

/// The text of the figure of this name at the top of the page.
fn headline(document: &Document, name: &str) -> String {
    let term = all(document, "dt").find(|node| node.text() == Some(name)).expect("it is there");
    term.next_sibling_element().and_then(|value| value.text()).expect("it has a value").to_owned()
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().expect("a number")
}

#[test]
fn the_page_says_what_the_recording_says() {
    let (recording, addition) = (recording(), Addition { closeup: Some(closeup()), ..Addition::default() });
    let text = page::page(&recording, &addition);
    let document = parse_page(&text);
    let answers = recording.intervals.iter().map(|interval| interval.requests).sum::<u64>();
    assert_eq!(number(&headline(&document, "answered")), answers);
    assert_eq!((headline(&document, "errors"), headline(&document, "unknown outcome")), ("2".into(), "3".into()));
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
        let ns = recording.latencies.value_at_quantile(quantile);
        assert_eq!(headline(&document, name), scale::time(ns as f64 / 1e9), "{name}");
    }
    let rows = all(&document, "table").last().expect("the intervals").descendants().filter(|n| n.has_tag_name("tr"));
    let cells = |row: Node| row.children().filter_map(|cell| cell.text().map(str::to_owned)).collect::<Vec<_>>();
    let rows = rows.skip(1).map(cells).collect::<Vec<_>>();
    assert!(rows.len() <= page::COLUMNS_MAX, "{} rows", rows.len());
    assert_eq!(rows.iter().map(|row| number(&row[2])).sum::<u64>(), answers);
    assert_eq!(rows.iter().map(|row| number(&row[4]) + number(&row[5])).sum::<u64>(), 5);
    for words in [&recording.title, &recording.command, "2024-02-29 00:00:00 UTC", "kill -9 of server1", "Valid."] {
        assert!(document.descendants().any(|node| node.text().is_some_and(|text| text.contains(words))), "{words}");
    }
    let drawings = all(&document, "svg").filter_map(|node| node.attribute("id")).collect::<Vec<_>>();
    assert_eq!(drawings, ["closeup-throughput", "closeup-latency", "throughput", "latency", "percentiles"]);
}

#[test]
fn the_page_asks_for_nothing_and_each_drawing_says_what_it_is() {
    let text = page::page(&recording(), &Addition { closeup: Some(closeup()), ..Addition::default() });
    let document = parse_page(&text);
    assert_eq!(all(&document, "script").chain(all(&document, "img")).chain(all(&document, "iframe")).count(), 0);
    for node in document.descendants() {
        for attribute in node.attributes() {
            let asks = ["href", "src", "srcset", "data", "action"].contains(&attribute.name());
            assert!(!asks || attribute.value() == "data:,", "{} asks for {}", attribute.name(), attribute.value());
        }
    }
    assert!(!text.contains("url(") && !text.contains("@import"), "a style asks for something");
    let ids = document.descendants().filter_map(|node| node.attribute("id")).collect::<Vec<_>>();
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(ids.len(), distinct.len(), "an id twice: {ids:?}");
    for drawing in all(&document, "svg") {
        let labels = drawing.attribute("aria-labelledby").expect("labels").split(' ').collect::<Vec<_>>();
        assert!(drawing.attribute("role") == Some("img") && labels.len() == 2);
        assert!(labels.iter().all(|label| ids.contains(label)), "{labels:?} are not there");
    }
}

#[test]
fn an_invalid_run_says_so_and_why() {
    let reasons = vec!["the generator's thread was busy: give it a core of its own".to_owned()];
    let recording = Recording { verdict: Verdict::Invalid { reasons: reasons.clone() }, ..recording() };
    let text = page::page(&recording, &Addition::default());
    let document = parse_page(&text);
    assert_eq!(all(&document, "li").filter_map(|node| node.text()).collect::<Vec<_>>(), reasons);
    assert!(!text.contains("Valid."));
    assert!(drawing(&recording, &Addition::default()).contains("Invalid: the generator's thread was busy"));
}

#[test]
fn a_drawing_is_interrupted_where_nothing_was_answered() {
    let recording = recording();
    let text = drawing(&recording, &Addition::default());
    let document = Document::parse(&text).expect("well-formed");
    let line = |class: &str| {
        let found = document.descendants().find(|node| node.attribute("class") == Some(class)).expect("a line");
        found.attribute("d").expect("a path").to_owned()
    };
    assert_eq!(line("line p99").matches('M').count(), 2, "the gap is wide enough for a column of its own");
    assert_eq!(line("line answered").matches('M').count(), 1);
    let names = document.descendants().filter(|node| node.attribute("class") == Some("title"));
    let titles = names.filter_map(|node| node.text()).collect::<Vec<_>>();
    assert_eq!(titles, ["Throughput", "Latency", "Latency by percentile"]);
    let alone = drawing(&recording, &Addition { closeup: Some(closeup()), ..Addition::default() });
    assert!(Document::parse(&alone).is_ok() && alone.contains("Around the kill") && !alone.contains(">Throughput<"));
}

#[test]
fn a_run_without_an_answer_is_drawn_too() {
    for intervals in [Vec::new(), vec![Interval { requests: 0, latencies: histogram(2), ..first() }]] {
        let latencies = histogram(DIGITS_OF_RUN);
        let recording = Recording { intervals, marks: Vec::new(), latencies, ..recording() };
        let page = page::page(&recording, &Addition::default());
        assert_eq!(headline(&parse_page(&page), "p99"), "–");
        assert!(!page.contains("NaN") && !page.contains("inf"), "a coordinate is none");
        assert!(Document::parse(&drawing(&recording, &Addition::default())).is_ok());
    }
}

fn first() -> Interval {
    recording().intervals.swap_remove(0)
}

#[test]
fn the_interval_log_is_read_back_by_the_crates_own_reader() {
    let recording = recording();
    let log = hdr::interval_log(&recording).expect("it is written");
    let text = String::from_utf8(log.clone()).expect("text");
    assert!(text.contains("\n#[Histogram log format version 1.3]\n#[StartTime: 1709164800.250 "));
    let legend = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"";
    assert_eq!(text.lines().filter(|line| *line == legend).count(), 1);
    let mut read = Vec::new();
    let mut deserializer = Deserializer::new();
    for entry in IntervalLogIterator::new(&log) {
        if let LogEntry::Interval(one) = entry.expect("the reader understands it") {
            let bytes = base64(one.encoded_histogram());
            let latencies: Histogram<u64> = deserializer.deserialize(&mut &bytes[..]).expect("a histogram");
            read.push((one.start_timestamp(), one.duration(), one.max(), latencies));
        }
    }
    let answered = recording.intervals.iter().filter(|interval| !interval.latencies.is_empty()).collect::<Vec<_>>();
    assert_eq!(read.len(), answered.len());
    for ((start, length, max, latencies), interval) in read.iter().zip(answered) {
        assert_eq!((*start, *length, latencies), (interval.start, interval.length, &interval.latencies));
        assert!((max - interval.latencies.max() as f64 / 1e6).abs() < 0.001);
    }
    assert!(text.contains("#5.010: 2 errors, 3 unknown\n"));
}

/// The bytes that this text stands for.
fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let values = text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)).collect::<Vec<_>>();
    let bytes = values.chunks(4).flat_map(|group| {
        let bits = group.iter().fold(0, |bits, value| bits << 6 | value) << (6 * (4 - group.len()));
        [16, 8, 0].into_iter().take(group.len() - 1).map(move |shift| (bits >> shift) as u8)
    });
    bytes.collect()
}

#[test]
fn the_percentile_distribution_is_read_back() {
    let recording = recording();
    let text = hdr::percentiles(&recording.latencies);
    let mut lines = text.lines();
    let head = lines.next().expect("names").split_whitespace().collect::<Vec<_>>();
    assert_eq!(head, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
    assert_eq!(lines.next(), Some(""));
    let rows = lines.by_ref().take_while(|line| !line.starts_with('#'));
    let rows = rows.map(|line| line.split_whitespace().map(|word| word.parse::<f64>().expect("a number")).collect());
    let rows = rows.collect::<Vec<Vec<_>>>();
    let last = rows.last().expect("rows");
    assert_eq!(last[1..], [1.0, recording.latencies.len() as f64], "the last one has all and no fourth column");
    assert!((last[0] - recording.latencies.max() as f64 / 1e6).abs() < 1e-6);
    for row in &rows {
        let ns = recording.latencies.value_at_quantile(row[1]);
        assert!(recording.latencies.equivalent(ns, (row[0] * 1e6).round() as u64), "{row:?}: {ns}");
    }
    assert!(rows.windows(2).all(|two| two[0][0] <= two[1][0] && two[0][2] <= two[1][2]));
    for foot in ["#[Mean    =", "#[Max     =", "#[Buckets ="] {
        assert!(text.lines().any(|line| line.starts_with(foot)), "{foot}");
    }
}

#[test]
fn files_are_written_where_they_were_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| Some(directory.path().join(name));
    let outputs = Outputs { report: path("a.html"), svg: path("a.svg"), hdr: path("a.b") };
    outputs.check().expect("they can be made");
    outputs.write(&recording()).expect("they are written");
    for name in ["a.html", "a.svg", "a.b.hlog", "a.b.hgrm"] {
        assert!(fs::metadata(directory.path().join(name)).expect(name).len() > 1_000, "{name}");
    }
    let nowhere = Outputs { svg: path("no/such/folder.svg"), ..Outputs::default() };
    let failure = nowhere.check().expect_err("there is no such folder").to_string();
    assert!(failure.contains("no/such/folder.svg cannot be written"), "{failure}");
}
