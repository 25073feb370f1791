//! Who founds a cluster, and whose data it begins with (R1).

use super::*;

const OWN: LogId = LogId(5);

fn coordinator() -> Coordinator {
    Coordinator::start(
        Time(STEP),
        CoordinatorBoot { record: None, fresh: CLUSTER, min_insync: 2, timing: Timing::default(), rules: Rules::ALL },
    )
}

/// A server that was in no cluster yet asks to be let in; what is to be done then.
fn register(coordinator: &mut Coordinator, node: u64, log: LogId, end: Mark) -> Vec<CoordinatorEffect> {
    let header = Header {
        cluster: log,
        epoch: Epoch(0),
        source: NodeId(node),
        source_incarnation: Incarnation(1),
        destination: COORDINATOR,
        destination_incarnation: Incarnation(0),
    };
    let body = Body::Register { contact: format!("server {node}"), end, doubtful: false };
    let mut effects = Vec::new();
    let input = CoordinatorInput::Received { message: Message { header, body } };
    coordinator.step(Time(2 * STEP), input, &mut |_| 0, &mut effects);
    effects
}

fn founded(effects: &[CoordinatorEffect]) -> Option<&Configuration> {
    effects.iter().find_map(|effect| match effect {
        CoordinatorEffect::Persist { configuration } => Some(configuration),
        _ => None,
    })
}

fn is_refused(effects: &[CoordinatorEffect]) -> bool {
    effects.iter().any(|effect| matches!(effect, CoordinatorEffect::RefusedServer { .. }))
}

fn written() -> Mark {
    Mark { epoch: Epoch(1), index: LogIndex(9), position: Position(900) }
}

#[test]
fn a_server_that_stood_alone_founds_a_cluster_of_its_data() {
    let mut coordinator = coordinator();
    let effects = register(&mut coordinator, 1, OWN, written());
    let founded = founded(&effects).expect("a cluster is founded");
    assert_eq!(
        (founded.cluster, founded.epoch, founded.leader),
        (OWN, Epoch(2), NodeId(1)),
        "behind what it wrote alone"
    );

    let others = [(2, LogId(6)), (3, OWN)];
    for (node, log) in others {
        assert!(is_refused(&register(&mut coordinator, node, log, written())), "before it is durable, {log:?}");
    }
    let mut effects = Vec::new();
    coordinator.step(Time(3 * STEP), CoordinatorInput::Persisted { epoch: Epoch(2) }, &mut |_| 0, &mut effects);
    for (node, log) in others {
        assert!(
            is_refused(&register(&mut coordinator, node, log, written())),
            "a copy may have gone another way, {log:?}"
        );
    }
    assert!(!is_refused(&register(&mut coordinator, 1, OWN, written())), "the founder has not heard of it yet");
    assert!(!is_refused(&register(&mut coordinator, 4, LogId(0), Mark::default())), "who has nothing is welcome");
}

#[test]
fn a_server_that_stood_alone_has_no_place_in_another_cluster() {
    let mut coordinator = coordinator();
    let effects = register(&mut coordinator, 1, LogId(0), Mark::default());
    let founded = founded(&effects).expect("a cluster is founded");
    assert_eq!((founded.cluster, founded.epoch), (CLUSTER, Epoch(1)));
    assert!(is_refused(&register(&mut coordinator, 2, OWN, written())));
}
