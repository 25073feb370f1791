//! Plays the table on every deployment shape: one test for each shape and theme, so that a failure says where it is.

use crate::script::Row;
use crate::server::{Launch, Server, Shape, is_ours};
use crate::table;

/// Plays rows in turn; those that need none of their own share a server, emptied before each of them.
fn play(shape: Shape, rows: &[Row]) {
    if !shape.is_possible() {
        println!("{shape:?} is a shape of our server alone");
        return;
    }
    let mut shared = None;
    let mut failures = Vec::new();
    for row in rows {
        if row.ours.is_some() && !is_ours() {
            continue;
        }
        let result = if row.fresh {
            row.play(&Launch::new(shape).options(row.options.iter().copied()).start())
        } else {
            let server = shared.get_or_insert_with(|| Server::start(shape));
            emptied(server).and_then(|()| row.play(server))
        };
        if let Err(e) = result {
            failures.push(format!("{}\n    {e}", row.name));
        }
    }
    assert!(failures.is_empty(), "{} of {} rows fail:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

fn emptied(server: &Server) -> Result<(), String> {
    let mut client = server.try_connect().map_err(|e| format!("connecting: {e}"))?;
    client.try_ask(b"flush_all\r\n", b"OK\r\n").map_err(|e| format!("before the row: {e}"))
}

macro_rules! on_shape {
    ($shape:ident, $module:ident: $($theme:ident)*) => {
        mod $module {
            use super::{Shape, play, table};
            $(#[test]
            fn $theme() {
                play(Shape::$shape, &table::$theme::rows());
            })*
        }
    };
}

macro_rules! on_every_shape {
    ($($theme:ident)*) => {
        on_shape!(NoLog, no_log: $($theme)*);
        on_shape!(Threads, threads: $($theme)*);
        on_shape!(LogNever, log_never: $($theme)*);
        on_shape!(LogAlways, log_always: $($theme)*);
        on_shape!(UnixSocket, unix_socket: $($theme)*);
        on_shape!(NamedMemcached, named_memcached: $($theme)*);

        #[test]
        fn every_row_has_a_name_of_its_own() {
            let rows: Vec<Row> = [$(table::$theme::rows()),*].into_iter().flatten().collect();
            let names: std::collections::BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            println!("{} rows, {} of them ours", rows.len(), rows.iter().filter(|row| row.ours.is_some()).count());
            for row in rows.iter().filter(|row| row.ours.is_some()) {
                println!("ours: {}: {}", row.name, row.ours.unwrap_or_default());
            }
            assert_eq!(names.len(), rows.len());
        }
    };
}

on_every_shape!(storage retrieval deletion arithmetic touching flushing cas noreply errors limits pipelining admin expiry);
