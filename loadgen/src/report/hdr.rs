//! HdrHistogram's own files: the interval log (format 1.3, histograms in V2 deflated) and the percentile distribution
//! (`.hgrm`), for the plotters and mergers that read them.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use hdrhistogram::serialization::{V2DeflateSerializeError, V2DeflateSerializer};

use crate::failure::Failure;
use crate::recording::Recording;

/// Latencies are in nanoseconds; both files show milliseconds, as their readers expect.
const NS_PER_MS: f64 = 1e6;
/// Lines of the percentile distribution for each halving of the distance to 100 %.
const TICKS_PER_HALVING: u32 = 5;
/// What stands last in the header that the crate writes.
const DIVISOR: &[u8] = b"#[MaxValueDivisor: ";
/// The names of an interval log's columns.
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

type LogError = IntervalLogWriterError<V2DeflateSerializeError>;

/// The interval log: one line for each interval in which something was answered, its times in seconds since the beginning.
/// An interval with errors or without a known outcome is followed by a comment that counts them.
///
/// # Errors
/// When a histogram cannot be written in this form, which would be a fault of ours.
pub fn interval_log(recording: &Recording) -> Result<Vec<u8>, Failure> {
    let mut log = Vec::new();
    write_log(recording, &mut log).map_err(|error| Failure::new(format!("writing the interval log: {error}")))?;
    let header = memchr::memmem::find(&log, DIVISOR).expect("the writer says its divisor");
    let first = memchr::memchr(b'\n', &log[header..]).map_or(log.len(), |end| header + end + 1);
    log.splice(first..first, LEGEND.bytes());
    Ok(log)
}

/// All but the names of the columns, which the crate's writer leaves out.
fn write_log(recording: &Recording, out: &mut Vec<u8>) -> Result<(), LogError> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!("[{}]", recording.title))
        .add_comment("[Histogram log format version 1.3]")
        .with_start_time(recording.began)
        // readers differ in what they take for the beginning when only one of the two is there
        .with_base_time(recording.began)
        .with_max_value_divisor(NS_PER_MS)
        .begin_log_with(out, &mut serializer)?;
    for interval in &recording.intervals {
        if !interval.latencies.is_empty() {
            log.write_histogram(&interval.latencies, interval.start, interval.length, None::<Tag>)?;
        }
        if interval.errors + interval.unknown > 0 {
            let start = interval.start.as_secs_f64();
            log.write_comment(&format!("{start:.3}: {} errors, {} unknown", interval.errors, interval.unknown))?;
        }
    }
    Ok(())
}

/// The percentile distribution, values in milliseconds.
pub fn percentiles(latencies: &Histogram<u64>) -> String {
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut counted = 0;
    for step in latencies.iter_quantiles(TICKS_PER_HALVING) {
        counted += step.count_since_last_iteration();
        let (value, share) = (step.value_iterated_to() as f64 / NS_PER_MS, step.quantile_iterated_to());
        write!(out, "{value:12.6} {share:2.12} {counted:10}").expect("a string takes what it is given");
        if share < 1.0 {
            write!(out, " {:14.2}", 1.0 / (1.0 - share)).expect("a string takes what it is given");
        }
        out.push('\n');
    }
    let ms = |ns: f64| ns / NS_PER_MS;
    let (mean, deviation, max) = (ms(latencies.mean()), ms(latencies.stdev()), ms(latencies.max() as f64));
    out += &format!("#[Mean    = {mean:12.6}, StdDeviation   = {deviation:12.6}]\n");
    out += &format!("#[Max     = {max:12.6}, Total count    = {:12}]\n", latencies.len());
    // of the sub-buckets' number only the accuracy is told by the crate: the smallest power of two that has it, doubled
    let sub_buckets = (2 * 10u64.pow(u32::from(latencies.sigfig()))).next_power_of_two();
    out += &format!("#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]\n", latencies.buckets());
    out
}
