//! `-o`: memcached's extended options. Two have an effect here, most describe parts that this server does not have and
//! are kept for `stats settings`, those that would change what one may rely on are refused by name.

use super::{Usage, refuse};

/// What the lists ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extended {
    /// Past the connection limit answer and close.
    pub maxconns_fast: bool,
    /// Seconds, 0 for never.
    pub idle_timeout_seconds: u32,
    /// Settings to show, name and value.
    pub accepted: Vec<(String, String)>,
}

/// How one sub-option is taken.
enum Rule {
    /// A word that stands for a setting and its value.
    Word(&'static str, &'static str),
    /// A whole number within bounds, shown multiplied by the unit.
    Number {
        setting: &'static str,
        min: u64,
        max: u64,
        unit: u64,
    },
    /// A positive number with a fraction.
    Fraction(&'static str),
    /// One of these words.
    Choice(&'static str, &'static [&'static str]),
    /// `slab_automove`, whose number may be left out.
    Automove,
    /// Sizes with `-` between them.
    Sizes,
    MaxconnsFast(bool),
    IdleTimeout,
}

const fn number(setting: &'static str, min: u64, max: u64, unit: u64) -> Rule {
    Rule::Number { setting, min, max, unit }
}

const U32: u64 = u32::MAX as u64;

/// memcached 1.6's sub-options, the `no_` forms it has included.
const RULES: &[(&str, Rule)] = &[
    ("maxconns_fast", Rule::MaxconnsFast(true)),
    ("no_maxconns_fast", Rule::MaxconnsFast(false)),
    ("idle_timeout", Rule::IdleTimeout),
    ("hashpower", number("hashpower_init", 12, 32, 1)),
    ("hashexpand", Rule::Word("hash_expand", "yes")),
    ("no_hashexpand", Rule::Word("hash_expand", "no")),
    ("hash_algorithm", Rule::Choice("hash_algorithm", &["jenkins", "murmur3", "xxh3"])),
    ("slab_reassign", Rule::Word("slab_reassign", "yes")),
    ("no_slab_reassign", Rule::Word("slab_reassign", "no")),
    ("slab_automove", Rule::Automove),
    ("no_slab_automove", Rule::Word("slab_automove", "0")),
    ("slab_automove_ratio", Rule::Fraction("slab_automove_ratio")),
    ("slab_automove_window", number("slab_automove_window", 3, U32, 1)),
    ("slab_automove_freeratio", Rule::Fraction("slab_automove_freeratio")),
    ("slab_sizes", Rule::Sizes),
    ("slab_chunk_max", number("slab_chunk_max", 1, 1 << 20, 1 << 10)),
    ("chunked_items", Rule::Word("chunked_items", "yes")),
    ("no_chunked_items", Rule::Word("chunked_items", "no")),
    ("tail_repair_time", number("tail_repair_time", 10, U32, 1)),
    ("lru_crawler", Rule::Word("lru_crawler", "yes")),
    ("no_lru_crawler", Rule::Word("lru_crawler", "no")),
    ("lru_crawler_sleep", number("lru_crawler_sleep", 0, 1_000_000, 1)),
    ("lru_crawler_tocrawl", number("lru_crawler_tocrawl", 0, U32, 1)),
    ("lru_maintainer", Rule::Word("lru_maintainer_thread", "yes")),
    ("no_lru_maintainer", Rule::Word("lru_maintainer_thread", "no")),
    ("hot_lru_pct", number("hot_lru_pct", 1, 80, 1)),
    ("warm_lru_pct", number("warm_lru_pct", 1, 80, 1)),
    ("hot_max_factor", Rule::Fraction("hot_max_factor")),
    ("warm_max_factor", Rule::Fraction("warm_max_factor")),
    ("temporary_ttl", number("temporary_ttl", 0, U32, 1)),
    ("watcher_logbuf_size", number("watcher_logbuf_size", 1, 1 << 20, 1 << 10)),
    ("worker_logbuf_size", number("worker_logbuf_size", 1, 1 << 20, 1 << 10)),
    ("track_sizes", Rule::Word("track_sizes", "yes")),
    ("no_track_sizes", Rule::Word("track_sizes", "no")),
    // the setting is dead in memcached too
    ("inline_ascii_resp", Rule::Word("inline_ascii_response", "no")),
    ("no_inline_ascii_resp", Rule::Word("inline_ascii_response", "no")),
    ("read_buf_mem_limit", number("read_buf_mem_limit", 0, 1 << 20, 1 << 20)),
    ("resp_obj_mem_limit", number("resp_obj_mem_limit", 0, 1 << 20, 1 << 20)),
    ("modern", Rule::Word("modern", "yes")),
    ("no_modern", Rule::Word("modern", "no")),
    ("drop_privileges", Rule::Word("drop_privileges", "yes")),
    ("no_drop_privileges", Rule::Word("drop_privileges", "no")),
    ("relaxed_privileges", Rule::Word("relaxed_privileges", "yes")),
    ("no_relaxed_privileges", Rule::Word("relaxed_privileges", "no")),
    ("sock_cookie_id", number("sock_cookie_id", 0, U32, 1)),
];

/// Families that are refused whole, and what to do instead.
const REFUSED: &[(&str, &str)] = &[
    ("ext_", "external storage is not possible: remove it; --data-dir keeps the items on disk, -m must hold them all"),
    ("proxy_", "the proxy is not possible: remove it and run memcached's own proxy in front of the server"),
    ("ssl_", "TLS is not possible yet: remove it and put a TLS proxy in front of the server"),
];

/// Reads the `-o` lists in their order; the last word on a setting counts.
pub fn read(lists: &[String]) -> Result<Extended, Usage> {
    let mut extended = Extended { maxconns_fast: true, idle_timeout_seconds: 0, accepted: Vec::new() };
    for option in lists.iter().flat_map(|list| list.split(',')).filter(|option| !option.is_empty()) {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        apply(&mut extended, name, value)?;
    }
    let percent = |name: &str, default: u64| {
        let given = extended.accepted.iter().rev().find(|(setting, _)| setting == name);
        given.map_or(default, |(_, value)| value.parse().expect("shown as it was read"))
    };
    if percent("hot_lru_pct", 20) + percent("warm_lru_pct", 40) > 80 {
        return refuse("-o hot_lru_pct and warm_lru_pct are more than 80 together: lower one of them.");
    }
    Ok(extended)
}

fn apply(extended: &mut Extended, name: &str, value: Option<&str>) -> Result<(), Usage> {
    let Some((_, rule)) = RULES.iter().find(|(known, _)| *known == name) else { return unknown(name) };
    let needed = || value.ok_or_else(|| Usage(format!("-o {name} needs a value: write {name}=VALUE.")));
    let (setting, shown) = match rule {
        Rule::MaxconnsFast(on) => {
            extended.maxconns_fast = *on;
            return no_value(name, value);
        }
        Rule::IdleTimeout => {
            extended.idle_timeout_seconds = bounded(name, needed()?, 0, U32)? as u32;
            return Ok(());
        }
        Rule::Word(setting, shown) => {
            no_value(name, value)?;
            (*setting, (*shown).to_owned())
        }
        Rule::Number { setting, min, max, unit } => {
            (*setting, (bounded(name, needed()?, *min, *max)? * unit).to_string())
        }
        Rule::Automove => ("slab_automove", bounded(name, value.unwrap_or("1"), 0, 2)?.to_string()),
        Rule::Fraction(setting) => match needed()?.parse::<f64>() {
            Ok(fraction) if fraction > 0.0 && fraction.is_finite() => (*setting, format!("{fraction:.2}")),
            _ => return refuse(format!("-o {}: give a number greater than 0.", name_value(name, value))),
        },
        Rule::Choice(setting, words) => match needed()? {
            word if words.contains(&word) => (*setting, word.to_owned()),
            _ => return refuse(format!("-o {}: give one of {}.", name_value(name, value), words.join(", "))),
        },
        Rule::Sizes => match needed()? {
            sizes if sizes.split('-').all(|size| size.parse::<u32>().is_ok_and(|size| size > 0)) => {
                ("slab_sizes", sizes.to_owned())
            }
            sizes => {
                return refuse(format!("-o slab_sizes={sizes}: give sizes with - between them, such as 96-480-2048."));
            }
        },
    };
    extended.accepted.push((setting.to_owned(), shown));
    Ok(())
}

fn unknown<T>(name: &str) -> Result<T, Usage> {
    let bare = name.strip_prefix("no_").unwrap_or(name);
    match REFUSED.iter().find(|(family, _)| bare.starts_with(family)) {
        Some((_, reason)) => refuse(format!("-o {name}: {reason}.")),
        None => {
            refuse(format!("-o {name} is not an option of memcached 1.6: see -h for those there are, or remove it."))
        }
    }
}

fn name_value(name: &str, value: Option<&str>) -> String {
    value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"))
}

fn no_value(name: &str, value: Option<&str>) -> Result<(), Usage> {
    match value {
        None => Ok(()),
        Some(value) => refuse(format!("-o {name} takes no value: remove ={value}.")),
    }
}

fn bounded(name: &str, value: &str, min: u64, max: u64) -> Result<u64, Usage> {
    match value.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => refuse(format!("-o {name}={value}: give a whole number from {min} to {max}.")),
    }
}

#[cfg(test)]
pub fn names() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}
