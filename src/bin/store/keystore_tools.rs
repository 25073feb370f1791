//! `store keystore dump DIR`: what a server's keystore and the log behind it come to; changes nothing.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use ringstore::ring::replica_disk::{Kept, read_contents};

use crate::log_tools::{DumpForm, ToolError, json_bytes, output};

/// The part of `--help` about it.
pub const KEYSTORE_HELP: &str = "\
store keystore dump DIR [--json]  prints `<key> <value>` for every item that the server of the data directory DIR has, in the
                                  order of the keys' bytes: what its keystore holds and its log says after that, to the log's
                                  end. Items that had expired by the log's newest time are left out. With --json one object a
                                  line with key, value, flags, expiry, cas and bits; keys and values that are not UTF-8 are in
                                  key_base64 and value_base64.
It may be used while the server runs, and prints then what was not yet committed too. It keeps all items in memory.

Exit status: 0 printed, 64 a wrong command line, 65 damaged, 66 there is nothing in DIR, 74 a failed disk or output.";

/// Prints everything that the directory `dir` holds.
///
/// # Errors
/// When it cannot be read or is damaged. An output that is closed early is none.
pub fn dump(dir: &Path, form: DumpForm, out: impl Write) -> Result<(), ToolError> {
    let contents = read_contents(dir).map_err(ToolError::Log)?;
    let mut out = BufWriter::with_capacity(64 << 10, out);
    let mut print = || {
        for (key, kept) in &contents.items {
            match form {
                DumpForm::Text => text(&mut out, key, kept)?,
                DumpForm::Json => json(&mut out, key, kept)?,
            }
        }
        out.flush()
    };
    output(print())
}

fn text(out: &mut impl Write, key: &[u8], kept: &Kept) -> io::Result<()> {
    out.write_all(key)?;
    out.write_all(b" ")?;
    out.write_all(&kept.value)?;
    out.write_all(b"\n")
}

fn json(out: &mut impl Write, key: &[u8], kept: &Kept) -> io::Result<()> {
    out.write_all(b"{")?;
    json_bytes(out, "key", key)?;
    let Kept { value, flags, expiry, cas, bits } = kept;
    write!(out, ",\"flags\":{flags},\"expiry\":{},\"cas\":{cas},\"bits\":{bits},", expiry.raw())?;
    json_bytes(out, "value", value)?;
    out.write_all(b"}\n")
}
