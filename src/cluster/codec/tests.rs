//! What is said is what is heard, and FORMAT.md says how.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::cluster::configuration::{Configuration, Doubt, LogIndex, Mark, Member, NodeRecord, Position};
use crate::cluster::frame::Frame;
use crate::cluster::message::{Ack, Append, Body, Digest, Forward, Missing, Registered, Standing};
use crate::config;
use crate::log::{Entry, FrameBuilder, FrameStart};
use crate::time::{Duration, Time};

fn mark() -> impl Strategy<Value = Mark> {
    let numbers = (1..9_u64, 1..99_u64, 1..9999_u64);
    let some = numbers.prop_map(|(epoch, index, position)| Mark {
        epoch: Epoch(epoch),
        index: LogIndex(index),
        position: Position(position),
    });
    prop_oneof![Just(Mark::default()), some]
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    prop::collection::btree_map(1..40_u64, "[a-z0-9:. ]{0,30}", 1..5)
        .prop_map(|members| members.into_iter().map(|(node, contact)| Member { node: NodeId(node), contact }).collect())
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let leader = any::<prop::sample::Index>();
    (1..u128::MAX, 1..99_u64, 1..9_u64, members(), any::<u8>(), leader, any::<bool>()).prop_map(
        |(cluster, epoch, incarnation, members, min_insync, leader, forced)| Configuration {
            cluster: LogId(cluster),
            epoch: Epoch(epoch),
            leader: leader.get(&members).node,
            leader_incarnation: Incarnation(incarnation),
            members,
            min_insync,
            forced: Epoch(if forced { epoch } else { 0 }),
        },
    )
}

fn frame(previous: Mark, epoch: u64, key: &[u8]) -> Frame {
    let mut builder = FrameBuilder::new();
    builder.begin(FrameStart {
        epoch: Epoch(previous.epoch.0.max(epoch)),
        first_index: LogIndex(previous.index.0 + 1),
        position: previous.position,
        durable_upto: Position(0),
        time: Time(5),
    });
    builder.push(&Entry::Touch { key, expiry: crate::time::Expiry::NEVER });
    Frame::built(builder.take())
}

fn append() -> impl Strategy<Value = Body> {
    let key = prop::option::of(prop::collection::vec(any::<u8>(), 1..20));
    let digest = prop::option::of((any::<u64>(), any::<u64>()));
    let sent = (any::<u64>(), 0..=config::CLUSTER_LEASE_MAX.0, any::<u64>());
    (sent, prop::option::of(any::<u64>()), mark(), 1..9_u64, key, any::<u64>(), digest).prop_map(
        |((sent, lease, number), echo, previous, epoch, key, commit, digest)| {
            Body::Append(Append {
                sent: Time(sent),
                lease: Duration(lease),
                number,
                echo: echo.map(Time),
                previous,
                frame: key.map(|key| frame(previous, epoch, &key)),
                commit: Position(commit),
                digest: digest.map(|(position, digest)| Digest { position: Position(position), digest }),
            })
        },
    )
}

fn matched() -> impl Strategy<Value = Standing> {
    let steps = prop::collection::vec((1..9_u64, 1..9_u64), 0..5);
    (0..50_u64, 50..99_u64, steps, any::<u64>()).prop_map(|(durable, end, steps, limit)| {
        let (mut missing, mut top) = (Vec::new(), end);
        for (lacks, has) in steps {
            missing.push(Missing { from: Position(top), to: Position(top + lacks) });
            top += lacks + has;
        }
        let end = Mark { epoch: Epoch(1), index: LogIndex(1), position: Position(end) };
        let (durable, top, limit) = (Position(durable), Position(top), Position(limit));
        Standing::Matched { durable, end, missing, top, limit }
    })
}

fn ack() -> impl Strategy<Value = Body> {
    let standing = prop_oneof![mark().prop_map(|last| Standing::Unknown { last }), matched(), Just(Standing::Lost)];
    (any::<u64>(), any::<u64>(), prop::option::of(any::<u64>()), any::<bool>(), any::<bool>(), standing).prop_map(
        |(sent, newest, echo, withdrawn, full, standing)| {
            Body::Ack(Ack { sent: Time(sent), newest, echo: echo.map(Time), withdrawn, full, standing })
        },
    )
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..50);
    let registered = members().prop_map(|members| {
        members.into_iter().map(|member| Registered { member, incarnation: Incarnation(3) }).collect()
    });
    prop_oneof![
        append(),
        ack(),
        configuration().prop_map(Body::Announce),
        Just(Body::ConfigAsked),
        ("[a-z]{0,9}", mark(), any::<bool>()).prop_map(|(contact, end, doubtful)| Body::Register {
            contact,
            end,
            doubtful
        }),
        any::<u128>().prop_map(|yours| Body::Refused { yours: LogId(yours) }),
        (any::<u64>(), registered).prop_map(|(sent, registered)| Body::Heartbeat { sent: Time(sent), registered }),
        (any::<u64>(), any::<u64>(), 0..=config::CLUSTER_SLACK_MAX.0, mark()).prop_map(|(echo, lease, slack, end)| {
            let (echo, lease, slack) = (Time(echo), Duration(lease), Duration(slack));
            Body::HeartbeatAck { echo, lease, slack, end }
        }),
        members().prop_map(|members| Body::ChangeAsked { members }),
        any::<bool>().prop_map(|proven_dead| Body::CandidateAsked { proven_dead }),
        (mark(), any::<u64>(), any::<bool>()).prop_map(|(end, left, doubtful)| Body::CandidateAnswer {
            end,
            promise_left: Duration(left),
            doubtful
        }),
        Just(Body::Resigned),
        Just(Body::Leaving),
        mark().prop_map(|from| Body::SnapshotNeeded { from }),
        Just(Body::SnapshotOffer),
        (1..99_u64).prop_map(|number| Body::ReadIndexAsked { number }),
        (1..99_u64, any::<u64>()).prop_map(|(number, commit)| Body::ReadIndex { number, commit: Position(commit) }),
        (2..99_u64, bytes()).prop_map(|(number, request)| {
            Body::Forward(Forward { number, previous: number - 2, undecided: number - 1, request })
        }),
        (1..99_u64, bytes()).prop_map(|(number, reply)| Body::ForwardAnswer { number, reply }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (body(), 1..99_u64, 1..99_u64, 1..9_u64).prop_map(|(body, source, incarnation, seen)| {
        let (cluster, epoch) = match &body {
            Body::Announce(configuration) => (configuration.cluster, configuration.epoch),
            _ => (LogId(8), Epoch(9)),
        };
        let header = Header {
            cluster,
            epoch,
            source: NodeId(source),
            source_incarnation: Incarnation(incarnation),
            destination: NodeId(source + 1),
            destination_incarnation: Incarnation(seen),
        };
        Message { header, body }
    })
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes);
    bytes
}

/// With the checksum made right again after a change.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&bytes[header::CHECKSUM.end()..]);
    layout::put(&mut bytes, header::CHECKSUM, checksum.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn messages_come_back(message in message()) {
        prop_assert_eq!(message.fault(), None);
        let bytes = bytes_of(&message);
        prop_assert_eq!(decode(&bytes), Ok(message));
        for short in 0..bytes.len() {
            prop_assert!(decode(&bytes[..short]).is_err());
        }
    }

    #[test]
    fn any_changed_bit_is_seen(message in message(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = bytes_of(&message);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn what_decodes_encodes_to_the_same(message in message(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = bytes_of(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let bytes = sealed(bytes);
        if let Ok(decoded) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&decoded), bytes);
        }
    }

    #[test]
    fn records_come_back(configuration in configuration(), some in any::<bool>(), doubted in any::<bool>()) {
        let file = encode_configuration(&configuration);
        prop_assert_eq!(decode_configuration(&file), Ok(configuration.clone()));
        prop_assert_eq!(decode_node(&file), Err(CodecFault::Magic));
        let configuration = some.then_some(configuration);
        let doubt = if doubted { Doubt::Data } else { Doubt::None };
        let record = NodeRecord { node: NodeId(3), incarnation: Incarnation(4), configuration, doubt };
        let file = encode_node(&record);
        prop_assert_eq!(decode_node(&file), Ok(record));
        for short in 0..file.len() {
            prop_assert!(decode_node(&file[..short]).is_err());
        }
    }
}

fn config_asked() -> Message {
    let header = Header {
        cluster: LogId(8),
        epoch: Epoch(9),
        source: NodeId(1),
        source_incarnation: Incarnation(1),
        destination: NodeId(2),
        destination_incarnation: Incarnation(0),
    };
    Message { header, body: Body::ConfigAsked }
}

#[test]
fn what_this_version_does_not_know_is_refused_with_a_reason() {
    let changed = |field: Field, value: u16| {
        let mut bytes = bytes_of(&config_asked());
        layout::put(&mut bytes, field, value.to_le_bytes());
        decode(&sealed(bytes)).expect_err("it is not of this version")
    };
    let fault = changed(header::VERSION, 2);
    assert_eq!(fault, CodecFault::Version(2));
    assert_eq!(fault.to_string(), "it is of format version 2, this program knows version 1");
    assert_eq!(changed(header::KIND, 99), CodecFault::Kind(99));
}

fn acked(durable: u64, end: u64, missing: &[(u64, u64)], top: u64) -> Body {
    let missing = missing.iter().map(|&(from, to)| Missing { from: Position(from), to: Position(to) }).collect();
    let end = Mark { epoch: Epoch(1), index: LogIndex(1), position: Position(end) };
    let (durable, top, limit) = (Position(durable), Position(top), Position(99));
    let standing = Standing::Matched { durable, end, missing, top, limit };
    Body::Ack(Ack { sent: Time(1), newest: 1, echo: None, withdrawn: false, full: false, standing })
}

#[test]
fn what_stands_around_a_frame_has_so_many_bytes() {
    let frame = frame(Mark::default(), 1, b"key");
    let frame_bytes = frame.bytes().len();
    for (echo, more) in [(None, 0), (Some(Time(3)), 8)] {
        let mut message = config_asked();
        let (previous, commit) = (Mark::default(), Position(0));
        let (sent, lease, frame) = (Time(2), Duration(3), Some(frame.clone()));
        let append = Append { sent, lease, number: 1, echo, previous, frame, commit, digest: None };
        message.body = Body::Append(append);
        assert_eq!(bytes_of(&message).len() - frame_bytes, APPEND_BYTES_MIN + more);
    }
}

#[test]
fn fields_that_are_never_said_are_refused() {
    let fault = |change: fn(&mut Message)| {
        let mut message = config_asked();
        change(&mut message);
        match decode(&bytes_of(&message)) {
            Err(CodecFault::Field(what)) => what,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fault(|m| m.header.source = NodeId(2)), "a message to oneself");
    assert_eq!(fault(|m| m.header.cluster = LogId(0)), "an epoch without a cluster");
    assert_eq!(
        fault(|m| m.header.source_incarnation = Incarnation(0)),
        "the coordinator and nobody else has incarnation 0"
    );
    assert_eq!(
        fault(|m| m.body = Body::Forward(Forward { number: 1, previous: 1, undecided: 1, request: Vec::new() })),
        "numbers grow from 1"
    );
    assert_eq!(
        fault(|m| {
            m.body = acked(2, 1, &[], 1);
        }),
        "more is durable than is there"
    );
    assert_eq!(fault(|m| m.body = acked(1, 5, &[(6, 7)], 9)), "what is missing is not in order");
    assert_eq!(fault(|m| m.body = acked(1, 5, &[(5, 7), (7, 8)], 9)), "what is missing is not in order");
    assert_eq!(fault(|m| m.body = acked(1, 5, &[(5, 5)], 9)), "what is missing is not in order");
    let nothing = "something is there and nothing before it is missing";
    assert_eq!(fault(|m| m.body = acked(1, 5, &[(5, 7)], 7)), nothing);
    assert_eq!(fault(|m| m.body = acked(1, 5, &[], 7)), nothing);
    assert_eq!(fault(|m| m.body = Body::ChangeAsked { members: Vec::new() }), "nobody is left");
}

#[test]
fn format_md_has_the_tables_of_the_code() {
    let page = include_str!("../../../FORMAT.md");
    let mut fields = String::from("| byte | bytes | field | holds |\n|---|---|---|---|\n");
    let mut at = 0;
    for field in header::FIELDS {
        assert_eq!(field.at, at, "{} follows its neighbour", field.name);
        writeln!(fields, "| {} | {} | `{}` | {} |", field.at, field.bytes, field.name, field.meaning)
            .expect("a string");
        at = field.end();
    }
    let mut kinds = String::from("| kind | message | body |\n|---|---|---|\n");
    for (kind, name, what) in KINDS {
        writeln!(kinds, "| {kind} | {name} | {what} |").expect("a string");
    }
    for table in [fields, kinds] {
        assert!(page.contains(&table), "FORMAT.md lacks this table:\n\n{table}");
    }
}
