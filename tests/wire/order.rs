//! Several ring threads, one truth: every connection sees its own order, and no change is lost between threads.

use std::thread;

use crate::server::{Server, Shape};

const SHAPES: [Shape; 3] = [Shape::Threads, Shape::LogAlways, Shape::LogNever];

fn on_each_shape(check: impl Fn(&Server)) {
    for shape in SHAPES.into_iter().filter(|shape| shape.is_possible()) {
        check(&Server::start(shape));
    }
}

#[test]
fn a_connection_sees_its_own_pipelined_writes() {
    on_each_shape(|server| {
        thread::scope(|scope| {
            for number in 0..16 {
                scope.spawn(move || {
                    let mut client = server.connect();
                    for round in 0..20 {
                        let (mut send, mut expect) = (String::new(), String::new());
                        for i in 0..50 {
                            send.push_str(&format!(
                                "set key:{number} 0 0 6\r\n{round:02}{i:04}\r\nget key:{number}\r\n"
                            ));
                            expect
                                .push_str(&format!("STORED\r\nVALUE key:{number} 0 6\r\n{round:02}{i:04}\r\nEND\r\n"));
                        }
                        send.push_str(&format!("delete key:{number}\r\nget key:{number}\r\nincr key:{number} 1\r\n"));
                        expect.push_str("DELETED\r\nEND\r\nNOT_FOUND\r\n");
                        client.ask(send, expect);
                    }
                });
            }
        });
    });
}

#[test]
fn incrs_from_many_connections_sum_up() {
    on_each_shape(|server| {
        server.connect().ask("set sum 0 0 1\r\n0\r\n", "STORED\r\n");
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut last = 0;
                    for _ in 0..10 {
                        client.send("incr sum 1\r\n".repeat(50));
                        for _ in 0..50 {
                            let now: u64 = client.line().parse().expect("the new number");
                            assert!(now > last, "connection {number} saw {now} after {last}");
                            last = now;
                        }
                    }
                });
            }
        });
        server.connect().ask("get sum\r\n", "VALUE sum 0 4\r\n4000\r\nEND\r\n");
    });
}

#[test]
fn of_many_adds_one_stores() {
    on_each_shape(|server| {
        let clients = 8;
        let stored: usize = thread::scope(|scope| {
            let adding: Vec<_> = (0..clients)
                .map(|number| {
                    scope.spawn(move || {
                        let mut client = server.connect();
                        client.send(
                            (0..200).map(|key| format!("add key:{key} 0 0 1\r\n{number}\r\n")).collect::<String>(),
                        );
                        (0..200).filter(|_| client.line() == "STORED").count()
                    })
                })
                .collect();
            adding.into_iter().map(|t| t.join().expect("no panic")).sum()
        });
        assert_eq!(stored, 200);
    });
}

#[test]
fn a_counter_kept_by_gets_and_cas_loses_nothing() {
    on_each_shape(|server| {
        server.connect().ask("set sum 0 0 4\r\n0000\r\n", "STORED\r\n");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    let mut client = server.connect();
                    let mut done = 0;
                    while done < 50 {
                        client.send("gets sum\r\n");
                        let line = client.line();
                        let cas = line.rsplit(' ').next().expect("the cas id").to_owned();
                        let sum: u32 = client.line().parse().expect("the number");
                        client.expect("END\r\n");
                        client.send(format!("cas sum 0 0 4 {cas}\r\n{:04}\r\n", sum + 1));
                        match client.line().as_str() {
                            "STORED" => done += 1,
                            "EXISTS" => {}
                            other => panic!("{other}"),
                        }
                    }
                });
            }
        });
        server.connect().ask("get sum\r\n", "VALUE sum 0 4\r\n0200\r\nEND\r\n");
    });
}

#[test]
fn what_is_acknowledged_on_one_connection_is_seen_on_every_other() {
    on_each_shape(|server| {
        let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for round in 0..400 {
            let (writer, reader) = (round % 8, (round * 3 + 1) % 8);
            clients[writer].ask(format!("set k 0 0 4\r\n{round:04}\r\n"), "STORED\r\n");
            clients[reader].ask("get k\r\n", format!("VALUE k 0 4\r\n{round:04}\r\nEND\r\n"));
        }
    });
}

#[test]
fn readers_see_whole_values_while_they_are_replaced() {
    on_each_shape(|server| {
        let length = 4000;
        let value = move |letter: u8| String::from_utf8(vec![letter; length]).expect("letters");
        server.connect().ask(format!("set k 0 0 {length}\r\n{}\r\n", value(b'a')), "STORED\r\n");
        thread::scope(|scope| {
            for number in 0..2u8 {
                scope.spawn(move || {
                    let mut client = server.connect();
                    for round in 0..1000u32 {
                        let letter = b'a' + ((round + u32::from(number)) % 26) as u8;
                        client.ask(format!("set k 0 0 {length}\r\n{}\r\n", value(letter)), "STORED\r\n");
                    }
                });
                scope.spawn(move || {
                    let mut client = server.connect();
                    for _ in 0..2000 {
                        client.ask("get k\r\n", format!("VALUE k 0 {length}\r\n"));
                        let line = client.line();
                        let first = line.as_bytes()[0];
                        assert!(line.len() == length && line.bytes().all(|b| b == first), "a torn value: {line}");
                        client.expect("END\r\n");
                    }
                });
            }
        });
    });
}
