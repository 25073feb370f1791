//! FORMAT.md's byte tables are printed from the layout's constants.

use std::fmt::Write as _;

use super::super::layout::{Field, entry, file, frame};

fn table(fields: &[Field]) -> String {
    let mut text = String::from("| byte | bytes | field | holds |\n|---|---|---|---|\n");
    let mut at = 0;
    for field in fields {
        assert_eq!(field.at, at, "{} follows its neighbour", field.name);
        writeln!(text, "| {} | {} | `{}` | {} |", field.at, field.bytes, field.name, field.meaning).expect("a string");
        at = field.end();
    }
    text
}

fn entries() -> String {
    let mut text = String::from("| first byte | entry | then |\n|---|---|---|\n");
    let put = "key length 1, value length 1-5, what the bits below announce, key, value";
    for (kind, name, then) in [
        (entry::PUT, "put", put),
        (entry::DELETE, "delete", "key length 1, key"),
        (entry::TOUCH, "touch", "key length 1, expiry 4, key"),
        (entry::FLUSH, "flush", "nothing"),
        (entry::FLUSH_AT, "flush at", "second 4"),
        (entry::NO_OP, "no-op", "nothing"),
        (
            entry::ORIGIN,
            "origin",
            "server 8, its incarnation 8, number 8, then the entry that came through that server",
        ),
    ] {
        writeln!(text, "| `{kind:#04x}` | {name} | {then} |").expect("a string");
    }
    text.push_str("\n| bit of a put | announces |\n|---|---|\n");
    for (bit, what) in [
        (entry::HAS_FLAGS, "client flags 4, not 0"),
        (entry::HAS_EXPIRY, "expiry 4, not 0 (never)"),
        (entry::HAS_CAS, "cas id 8; without it the cas id is the entry's index"),
        (entry::HAS_BITS, "item bits 1, not 0"),
    ] {
        writeln!(text, "| `{bit:#04x}` | {what} |").expect("a string");
    }
    text
}

#[test]
fn format_md_has_the_tables_of_the_code() {
    let page = include_str!("../../../FORMAT.md");
    for (name, table) in
        [("file header", table(&file::FIELDS)), ("frame header", table(&frame::FIELDS)), ("entries", entries())]
    {
        assert!(page.contains(&table), "FORMAT.md's table of {name} is not the code's, which is:\n\n{table}");
    }
}
