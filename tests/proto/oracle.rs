//! The protocol once more, slow and plain: split the line into a list of words, look at the list. It shares no code
//! with the parser; numbers go through the standard library, bytes through iterators.

use ringstore::config;

/// What the input begins with, with everything owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command in words of our own, and the bytes it took, and those of its block that it left to be dropped.
    Command {
        text: String,
        consumed: usize,
        swallow: u64,
    },
    Need {
        total: usize,
    },
    Invalid {
        reply: Option<&'static str>,
        consumed: usize,
        swallow: u64,
    },
    Close,
}

const FORMAT: &str = "CLIENT_ERROR bad command line format";
const EXPTIME: &str = "CLIENT_ERROR invalid exptime argument";

/// Reads one command as memcached 1.6.45 would.
pub fn read(input: &[u8], item_bytes_max: usize) -> Step {
    if input[0] == 0x80 {
        return Step::Close;
    }
    let Some(newline) = input.iter().position(|&byte| byte == b'\n') else { return endless(input) };
    let mut line = input[..newline].to_vec();
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let consumed = newline + 1;
    if consumed < 4 {
        return refuse(FORMAT, consumed);
    }
    let mut words: Vec<&[u8]> = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).collect();
    if line.first().is_none_or(|&byte| byte == b' ') {
        words.insert(0, b"");
    }
    let reader = Reader { words: &words, consumed, input, item_bytes_max, rest: &line };
    reader.command()
}

fn refuse(text: &'static str, consumed: usize) -> Step {
    Step::Invalid { reply: Some(text), consumed, swallow: 0 }
}

fn endless(input: &[u8]) -> Step {
    let spaces = input.iter().position(|&byte| byte != b' ').unwrap_or(input.len());
    let text = &input[spaces..];
    let may_grow = spaces <= 100 && (text.starts_with(b"get ") || text.starts_with(b"gets "));
    let most = if may_grow { config::GET_LINE_BYTES_MAX } else { config::LINE_BYTES_MAX };
    if input.len() > most { Step::Close } else { Step::Need { total: input.len() + 1 } }
}

struct Reader<'a> {
    words: &'a [&'a [u8]],
    consumed: usize,
    input: &'a [u8],
    item_bytes_max: usize,
    rest: &'a [u8],
}

impl Reader<'_> {
    fn command(&self) -> Step {
        let name = self.words[0];
        match name {
            b"get" | b"gets" => self.get(name, None, 1),
            b"gat" | b"gats" => match self.words {
                [_, _, _, ..] => match strict(self.words[1]) {
                    Some(exptime) => self.get(name, Some(exptime), 2),
                    None => refuse(EXPTIME, self.consumed),
                },
                _ => refuse(FORMAT, self.consumed),
            },
            b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => self.store(name),
            b"delete" => self.delete(),
            b"incr" | b"decr" => self.with_key(name, "CLIENT_ERROR invalid numeric delta argument", |word| {
                unsigned(word).map(|delta| delta.to_string())
            }),
            b"touch" => self.with_key(name, EXPTIME, |word| strict(word).map(|exptime| exptime.to_string())),
            b"flush_all" => self.flush_all(),
            b"verbosity" => self.with_number(name, FORMAT),
            b"cache_memlimit" => self.with_number(name, "ERROR"),
            b"version" => self.done("version".into(), 0),
            b"quit" => self.done("quit".into(), 0),
            b"shutdown" => match self.words {
                [_] => self.done("shutdown false".into(), 0),
                [_, b"graceful"] => self.done("shutdown true".into(), 0),
                _ => self.refuse_unless_silent("CLIENT_ERROR invalid shutdown mode", 0),
            },
            b"stats" | b"lru_crawler" | b"lru" | b"slabs" | b"watch" | b"extstore" | b"refresh_certs" => {
                self.operator(name)
            }
            _ if self.words.len() > 1 && self.words.last().is_some_and(|word| word.starts_with(b"HTTP/")) => {
                Step::Close
            }
            _ => self.refuse_unless_silent("ERROR", 0),
        }
    }

    fn done(&self, text: String, swallow: u64) -> Step {
        Step::Command { text, consumed: self.consumed, swallow }
    }

    fn noreply(&self) -> bool {
        self.words[1..].last().is_some_and(|word| word == b"noreply")
    }

    fn refuse_unless_silent(&self, text: &'static str, swallow: u64) -> Step {
        let reply = if self.noreply() { None } else { Some(text) };
        Step::Invalid { reply, consumed: self.consumed, swallow }
    }

    fn get(&self, name: &[u8], touch: Option<i32>, first: usize) -> Step {
        let keys = self.words.get(first..).unwrap_or_default();
        if keys.is_empty() || keys.iter().any(|key| key.len() > 250) {
            return refuse(FORMAT, self.consumed);
        }
        let keys: Vec<_> = keys.iter().map(|key| key.escape_ascii().to_string()).collect();
        self.done(format!("get cas={} touch={touch:?} {keys:?}", name.ends_with(b"s")), 0)
    }

    fn store(&self, name: &[u8]) -> Step {
        let &[_, key, flags, exptime, length, ..] = self.words else { return refuse(FORMAT, self.consumed) };
        let Some(length) = strict(length).filter(|&length| (0..=i32::MAX - 2).contains(&length)) else {
            return refuse(FORMAT, self.consumed);
        };
        let length = length as usize;
        let swallow = length as u64 + 2;
        let cas = if name == b"cas" { self.words.get(5).and_then(|word| unsigned(word)) } else { Some(0) };
        let flags = if flags.len() < 20 { unsigned(flags) } else { None };
        let (true, Some(flags), Some(exptime), Some(cas)) = (key.len() <= 250, flags, wrapped(exptime), cas) else {
            return self.refuse_unless_silent(FORMAT, swallow);
        };
        let (name, key_text, noreply) = (name.escape_ascii(), key.escape_ascii(), self.noreply());
        if key.len() + length + 59 > self.item_bytes_max {
            return self.done(format!("too large {name} {key_text} {noreply}"), swallow);
        }
        let total = self.consumed + length + 2;
        if self.input.len() < total {
            return Step::Need { total };
        }
        let block = &self.input[self.consumed..total];
        let Some(value) = block.strip_suffix(b"\r\n") else {
            let reply = if noreply { None } else { Some("CLIENT_ERROR bad data chunk") };
            return Step::Invalid { reply, consumed: total, swallow: 0 };
        };
        let flags = flags as u32;
        let value = value.escape_ascii();
        let text = format!("{name} {key_text} flags={flags} exptime={exptime} cas={cas} {noreply} {value}");
        Step::Command { text, consumed: total, swallow: 0 }
    }

    fn delete(&self) -> Step {
        match self.words {
            [_] => refuse(FORMAT, self.consumed),
            [_, key, extra @ ..] => {
                let noreply = extra.last().is_some_and(|word| *word == b"noreply");
                if key.len() > 250 || extra.len() >= 3 {
                    let reply = if noreply { None } else { Some(FORMAT) };
                    return Step::Invalid { reply, consumed: self.consumed, swallow: 0 };
                }
                self.done(format!("delete {} {noreply}", key.escape_ascii()), 0)
            }
            [] => unreachable!("a line has a first word, if an empty one"),
        }
    }

    fn with_key(&self, name: &[u8], wrong: &'static str, number: impl Fn(&[u8]) -> Option<String>) -> Step {
        let &[_, key, word, ..] = self.words else { return refuse(FORMAT, self.consumed) };
        if key.len() > 250 {
            return self.refuse_unless_silent(FORMAT, 0);
        }
        let Some(number) = number(word) else { return self.refuse_unless_silent(wrong, 0) };
        self.done(format!("{} {} {number} {}", name.escape_ascii(), key.escape_ascii(), self.noreply()), 0)
    }

    fn with_number(&self, name: &[u8], wrong: &'static str) -> Step {
        let number = self.words.get(1).and_then(|word| unsigned(word)).filter(|&number| number < 1 << 32);
        let Some(number) = number else { return self.refuse_unless_silent(wrong, 0) };
        self.done(format!("{} {number} {}", name.escape_ascii(), self.noreply()), 0)
    }

    fn flush_all(&self) -> Step {
        let delay = match self.words {
            [_] | [_, b"noreply"] => Some(0),
            [_, delay, ..] => strict(delay),
            [] => unreachable!("a line has a first word"),
        };
        let Some(delay) = delay else { return self.refuse_unless_silent(EXPTIME, 0) };
        self.done(format!("flush_all {delay} {}", self.noreply()), 0)
    }

    fn operator(&self, name: &[u8]) -> Step {
        let text = self.rest[name.len()..].escape_ascii().to_string();
        self.done(format!("{} [{}]", name.escape_ascii(), text.trim_matches(' ')), 0)
    }
}

/// The number a word of digits is, of whatever size.
fn digits(word: &[u8]) -> Option<u128> {
    let text = str::from_utf8(word).ok()?;
    let plain = !text.is_empty() && text.len() <= 20 && text.chars().all(|c| c.is_ascii_digit());
    plain.then(|| text.parse().expect("twenty digits fit"))
}

fn unsigned(word: &[u8]) -> Option<u64> {
    digits(word)?.try_into().ok()
}

fn sign(word: &[u8]) -> (i128, &[u8]) {
    word.strip_prefix(b"-").map_or((1, word), |rest| (-1, rest))
}

/// An expiry time: any number of up to 19 digits, of which 32 bits are kept.
fn wrapped(word: &[u8]) -> Option<i32> {
    let (sign, rest) = sign(word);
    if rest.len() > 19 {
        return None;
    }
    let number = sign * digits(rest)?.cast_signed();
    (i128::from(i64::MIN)..=i128::from(i64::MAX)).contains(&number).then_some(number as i32)
}

/// A number that must fit 32 bits with a sign, in no more than ten digits.
fn strict(word: &[u8]) -> Option<i32> {
    let (sign, rest) = sign(word);
    if rest.len() > 10 {
        return None;
    }
    (sign * digits(rest)?.cast_signed()).try_into().ok()
}
