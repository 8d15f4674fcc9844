//! What becomes of what was called, and who hears of it.

use super::*;

#[test]
fn outcomes_are_told_once_asked_for_and_kept_until_they_are_read() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let before = scene.used();
    let job = scene.submit(1, pool, 3);
    assert_eq!(
        scene.outcomes(1, job, 0, false, 0),
        Some((Status::TimedOut, Vec::new()))
    );
    scene.give_out();
    assert_eq!(scene.crews[&1].jobs[&0].task, "task");
    assert_eq!(scene.outcomes(1, job, 0, false, FOREVER), None);
    scene.work(1, 0, 5);
    let late = scene.late();
    assert_eq!((late.len(), late[0].0, late[0].1), (1, 1, Status::Done));
    let first = told(&late[0].2);
    assert_eq!((first.over, &first.outcomes[..]), (OPEN, &[(0, true, vec![0; 5])][..]));
    // It has not said that it has read it.
    assert_eq!(scene.look(1, job, 0), first);
    assert_eq!(scene.outcomes(1, job, 1, true, FOREVER), None);
    scene.work(1, 0, 13);
    assert!(scene.late().is_empty(), "it wants all of it");
    // Another thread of theirs, that does not know that one was read.
    let (status, _) = scene.outcomes(2, job, 0, true, FOREVER).expect("an answer");
    assert_eq!(status, Status::Done);
    scene.work(1, 0, 7);
    let late = scene.late();
    let rest = told(&late[0].2);
    assert_eq!((rest.over, rest.outcomes.len()), (COMPLETE, 2));
    let (index, done, error) = &rest.outcomes[0];
    let error: TaskError = decode(error).unwrap();
    assert_eq!(
        (*index, *done, error.kind, error.index),
        (1, false, ErrorKind::WorkerLost, 1)
    );
    assert_eq!(
        scene.outcomes(1, job, 4, false, 0),
        Some((Status::Malformed, Vec::new()))
    );
    let nothing = scene.look(1, job, 3);
    assert_eq!((nothing.over, nothing.outcomes.len()), (COMPLETE, 0));
    assert_eq!(scene.ask(1, Op::Release, job, |_| ()), None);
    scene.give_out();
    assert_eq!(scene.used(), before);
}

#[test]
fn more_outcomes_than_may_be_kept_end_their_job_alone() {
    let mut scene = Scene::new(100_000);
    let pool = scene.pool(1, b"pool");
    let (greedy, modest) = (scene.submit(1, pool, 3), scene.submit(2, pool, 1));
    scene.give_out();
    scene.work(1, 0, 30_000);
    scene.work(1, 0, 30_000);
    let told = scene.look(1, greedy, 0);
    assert_eq!((told.over, told.outcomes.len()), (OVERFULL, 0));
    scene.give_out();
    assert!(!scene.crews[&1].jobs.contains_key(&0), "the crew does not go on");
    scene.work(1, 1, 30_000);
    assert_eq!(scene.look(2, modest, 0).over, COMPLETE);
}

#[test]
fn what_a_client_has_called_ends_with_it_and_what_it_let_go_of_does_not() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let before = scene.used();
    let let_go = scene.submit(2, pool, 2);
    // Who keeps what it has made keeps no calls by that.
    let kept = scene.submit(2, pool, 0);
    scene.done(2, Op::Keep, kept, |_| ());
    assert_eq!(scene.ask(2, Op::KeepAll, Id::NONE, |_| ()), None);
    assert_eq!(scene.ask(2, Op::Release, let_go, |_| ()), None);
    scene.give_out();
    let (going, waiting) = (scene.submit(2, pool, 2), scene.submit(3, pool, 2));
    scene.give_out();
    scene.submit(2, pool, 2);
    scene.work(1, 0, 5);
    assert_eq!(scene.crews[&1].jobs.len(), 3);
    scene.leave(2);
    scene.give_out();
    assert_eq!(
        scene.crews[&1].jobs.keys().collect::<Vec<_>>(),
        [&3],
        "the other client's"
    );
    assert_eq!(
        scene.outcomes(1, going, 0, false, 0),
        Some((Status::NoSuchObject, Vec::new()))
    );
    scene.work_off(1);
    assert_eq!(scene.look(3, waiting, 0).outcomes.len(), 2);
    scene.leave(3);
    assert_eq!(scene.used(), before);
}

#[test]
fn a_job_that_more_was_to_come_for_ends_with_what_was_submitted_when_it_is_let_go_of() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let before = scene.used();
    let open = |scene: &mut Scene| {
        let fields = scene.done(1, Op::PoolSubmit, pool, |writer| {
            write_call(writer, b"task", 0);
            write_items(writer, 2, 1, false);
        });
        Fields(&fields).id().unwrap()
    };
    let (begun, waiting) = (open(&mut scene), {
        scene.give_out();
        open(&mut scene)
    });
    // Over whichever of their connections.
    for (number, job) in [(1, begun), (2, waiting)] {
        assert_eq!(scene.ask(number, Op::Release, job, |_| ()), None);
    }
    scene.give_out();
    for job in [0, 1] {
        let Work { items, sealed, .. } = &scene.crews[&1].jobs[&job];
        assert_eq!((*items, *sealed), (2, true));
    }
    scene.work_off(1);
    assert_eq!(scene.used(), before);
}

#[test]
fn a_closed_pool_does_what_was_submitted_and_a_terminated_one_ends_it() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    assert_eq!(
        scene
            .ask(1, Op::PoolJoin, pool, |writer| writer.u64(FOREVER))
            .unwrap()
            .0,
        Status::StillRunning
    );
    let job = scene.submit(1, pool, 2);
    scene.done(1, Op::PoolClose, pool, |_| ());
    let refused = scene.ask(1, Op::PoolSubmit, pool, |writer| {
        write_call(writer, b"task", 0);
        write_items(writer, 1, 1, true);
    });
    assert_eq!(refused.unwrap().0, Status::NotRunning);
    scene.work_off(1);
    assert!(scene.crews[&1].closed);
    assert_eq!(scene.look(1, job, 0).over, COMPLETE);
    assert_eq!(scene.ask(1, Op::PoolJoin, pool, |writer| writer.u64(FOREVER)), None);
    scene.end(1);
    assert_eq!(scene.late(), [(1, Status::Done, Vec::new())]);

    let pool = scene.pool(1, b"other");
    let (begun, waits) = (scene.submit(1, pool, 2), scene.submit(2, pool, 0));
    scene.give_out();
    let unknown = scene.submit(2, pool, 3);
    assert_eq!(scene.outcomes(3, unknown, 0, true, 1), None);
    scene.done(1, Op::PoolTerminate, pool, |_| ());
    assert_eq!(scene.late().len(), 1);
    let ended = scene.look(2, unknown, 0);
    let error: TaskError = decode(&ended.words).unwrap();
    assert_eq!((ended.over, error.kind), (CANCELLED, ErrorKind::Cancelled));
    assert_eq!(scene.look(2, waits, 0).over, COMPLETE, "it had no items");
    scene.give_out();
    assert!(scene.crews[&2].terminated);
    scene.end(2);
    assert_eq!(scene.look(1, begun, 0).over, CANCELLED);
}

#[test]
fn a_pool_that_gave_up_says_why_to_everybody_and_for_ever() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let (begun, waiting) = (scene.submit(1, pool, 20), {
        scene.give_out();
        scene.submit(2, pool, 20)
    });
    assert_eq!(scene.outcomes(2, waiting, 0, true, FOREVER), None);
    scene.hear(1, Word::Gone(0, "it is so".into()));
    let (_, status, fields) = scene.late().remove(0);
    assert_eq!((status, told(&fields).over), (Status::Done, BROKEN));
    let later = scene.submit(3, pool, 5);
    for (number, job) in [(1, begun), (2, waiting), (3, later)] {
        let told = scene.look(number, job, 0);
        assert_eq!((told.over, told.words.as_slice()), (BROKEN, &b"it is so"[..]));
        assert_eq!(scene.ask(number, Op::Release, job, |_| ()), None);
    }
    assert_eq!(scene.store.pools.bytes(&scene.store.ledger), 0);
}

#[test]
fn a_wait_ends_in_time() {
    let mut scene = Scene::new(1 << 20);
    let pool = scene.pool(1, b"pool");
    let job = scene.submit(1, pool, 1);
    assert_eq!(scene.outcomes(1, job, 0, true, 1_000_000), None);
    let until = scene.store.next_deadline().unwrap();
    scene.store.expire(until.checked_sub(Duration::from_micros(1)).unwrap());
    assert!(scene.late().is_empty());
    scene.store.expire(until);
    scene.store.audit();
    assert_eq!(scene.late(), [(1, Status::TimedOut, Vec::new())]);
    // Who asks for something else has given up.
    assert_eq!(scene.outcomes(1, job, 0, true, 1_000_000), None);
    scene.used();
    assert_eq!(scene.outcomes(1, job, 0, true, 1_000_000), None);
    scene.leave(1);
    assert_eq!(scene.store.next_deadline(), None);
}
