//! Commands as a client writes them: each function appends one whole command. What it is given must be what the
//! protocol can say (a key of 1 to 250 bytes without spaces and control characters); what [`parse`](super::parse) then
//! reads is what was written.

use super::{Direction, Store, StoreVerb};

/// Appends a get, or a gets when cas ids are wanted, of at least one key.
#[inline]
pub fn get<'k>(out: &mut Vec<u8>, keys: impl IntoIterator<Item = &'k [u8]>, with_cas: bool) {
    out.extend_from_slice(if with_cas { b"gets" } else { b"get" });
    for key in keys {
        out.push(b' ');
        out.extend_from_slice(key);
    }
    end(out);
}

/// Appends a set, add, replace, append, prepend or cas with its data block.
#[inline]
pub fn store(out: &mut Vec<u8>, store: &Store<'_>) {
    let verb: &[u8] = match store.verb {
        StoreVerb::Set => b"set ",
        StoreVerb::Add => b"add ",
        StoreVerb::Replace => b"replace ",
        StoreVerb::Append => b"append ",
        StoreVerb::Prepend => b"prepend ",
        StoreVerb::Cas => b"cas ",
    };
    out.extend_from_slice(verb);
    out.extend_from_slice(store.key);
    number(out, u64::from(store.flags));
    exptime(out, store.exptime);
    number(out, store.value.len() as u64);
    if store.verb == StoreVerb::Cas {
        number(out, store.cas);
    }
    if store.noreply {
        out.extend_from_slice(b" noreply");
    }
    end(out);
    out.extend_from_slice(store.value);
    end(out);
}

/// Appends a delete.
#[inline]
pub fn delete(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"delete ");
    out.extend_from_slice(key);
    end(out);
}

/// Appends an incr or a decr.
#[inline]
pub fn arithmetic(out: &mut Vec<u8>, direction: Direction, key: &[u8], delta: u64) {
    out.extend_from_slice(match direction {
        Direction::Increment => b"incr ",
        Direction::Decrement => b"decr ",
    });
    out.extend_from_slice(key);
    number(out, delta);
    end(out);
}

/// Appends a touch. The expiry time is as on the wire.
#[inline]
pub fn touch(out: &mut Vec<u8>, key: &[u8], exptime_wire: i32) {
    out.extend_from_slice(b"touch ");
    out.extend_from_slice(key);
    exptime(out, exptime_wire);
    end(out);
}

/// Appends a command that is one word with arguments, such as `version`, or `stats` and which.
pub fn words<'w>(out: &mut Vec<u8>, name: &str, arguments: impl IntoIterator<Item = &'w [u8]>) {
    out.extend_from_slice(name.as_bytes());
    for argument in arguments {
        out.push(b' ');
        out.extend_from_slice(argument);
    }
    end(out);
}

/// Appends `mg <key> <flags>`, the meta command that gets. `flags` are words with a space between them.
#[inline]
pub fn meta_get(out: &mut Vec<u8>, key: &[u8], flags: &str) {
    meta(out, b"mg ", key);
    meta_flags(out, flags);
}

/// Appends `ms <key> <bytes> <flags>` with its data block, the meta command that sets.
#[inline]
pub fn meta_set(out: &mut Vec<u8>, key: &[u8], value: &[u8], flags: &str) {
    meta(out, b"ms ", key);
    number(out, value.len() as u64);
    meta_flags(out, flags);
    out.extend_from_slice(value);
    end(out);
}

/// Appends `md <key> <flags>`, the meta command that deletes.
#[inline]
pub fn meta_delete(out: &mut Vec<u8>, key: &[u8], flags: &str) {
    meta(out, b"md ", key);
    meta_flags(out, flags);
}

/// Appends `ma <key> <flags>`, the meta command that counts.
#[inline]
pub fn meta_arithmetic(out: &mut Vec<u8>, key: &[u8], flags: &str) {
    meta(out, b"ma ", key);
    meta_flags(out, flags);
}

fn meta(out: &mut Vec<u8>, verb: &[u8], key: &[u8]) {
    out.extend_from_slice(verb);
    out.extend_from_slice(key);
}

fn meta_flags(out: &mut Vec<u8>, flags: &str) {
    if !flags.is_empty() {
        out.push(b' ');
        out.extend_from_slice(flags.as_bytes());
    }
    end(out);
}

#[inline]
fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// A space and a number, which is often 0.
#[inline]
fn number(out: &mut Vec<u8>, number: u64) {
    if number == 0 {
        out.extend_from_slice(b" 0");
    } else {
        out.push(b' ');
        out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }
}

fn exptime(out: &mut Vec<u8>, exptime: i32) {
    if exptime < 0 {
        out.extend_from_slice(b" -");
        out.extend_from_slice(itoa::Buffer::new().format(exptime.unsigned_abs()).as_bytes());
    } else {
        number(out, u64::from(exptime.unsigned_abs()));
    }
}
