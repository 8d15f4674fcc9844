//! How much a crew takes of whom.

use super::*;

#[test]
fn a_crew_takes_from_everybody_in_turn_and_no_more_than_it_can_do() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    for _ in 0..20 {
        scene.submit(1, pool, 1000);
    }
    scene.give_out();
    let at_work = |scene: &Scene| -> usize { scene.crews[&1].jobs.values().map(|work| work.waiting.len()).sum() };
    assert_eq!(at_work(&scene), 8, "four for each process");
    let other = scene.submit(2, pool, 1);
    scene.give_out();
    assert_eq!(at_work(&scene), 8);
    // Who came last stands behind those alone that the crew has, and what was taken with them.
    for _ in 0..4 {
        scene.work(1, 0, 1);
        scene.give_out();
    }
    assert_eq!(scene.crews[&1].jobs[&20].items, 1);
    scene.work(1, 20, 1);
    assert_eq!(scene.look(2, other, 0).over, COMPLETE);
    scene.work_off(1);
    assert_eq!(
        scene.store.pools.bytes(&scene.store.ledger),
        65 * 20_001,
        "nothing but outcomes is left"
    );
}

#[test]
fn what_is_taken_in_parts_is_what_was_submitted() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let mut items = Vec::new();
    for number in 0..200 {
        Writer(&mut items).item(&vec![number; usize::from(number % 7)]);
    }
    scene.done(1, Op::PoolSubmit, pool, |writer| {
        write_call(writer, b"task", 0);
        writer.u32(200);
        writer.0.extend_from_slice(&items);
        writer.u8(1);
    });
    let (mut taken, mut parts) = (Vec::new(), 0);
    while taken.len() < items.len() {
        for (head, body) in scene.store.orders_for(1, scene.now) {
            if head.kind == order::ITEMS {
                taken.extend(body);
                parts += 1;
                for index in 0..head.number {
                    let result = Vec::new();
                    scene.hear(1, Word::Of(0, News::Done { index, result }));
                }
            }
        }
    }
    assert_eq!((taken, parts), (items, 100));
}

#[test]
fn of_items_that_take_no_time_a_crew_has_many() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    scene.submit(1, pool, 2500);
    let at_work = |scene: &Scene| scene.crews[&1].jobs[&0].waiting.len();
    for _ in 0..1000 {
        scene.give_out();
        scene.work(1, 0, 1);
    }
    scene.now += Duration::from_millis(100);
    scene.give_out();
    assert!(
        (375..=500).contains(&at_work(&scene)),
        "what it did in half of that: {}",
        at_work(&scene)
    );
    // They take long.
    scene.now += Duration::from_secs(1);
    while at_work(&scene) > 8 {
        scene.work(1, 0, 1);
    }
    for _ in 0..20 {
        scene.work(1, 0, 1);
        scene.now += Duration::from_secs(1);
        scene.give_out();
    }
    assert!(at_work(&scene) <= 40, "{}", at_work(&scene));
    for _ in 0..100 {
        scene.work(1, 0, 1);
        scene.now += Duration::from_secs(1);
        scene.give_out();
    }
    assert_eq!(at_work(&scene), 8);
    scene.work_off(1);
    assert_eq!(scene.crews[&1].jobs.len(), 0);
}

#[test]
fn a_client_has_so_many_jobs_that_more_may_come_for_and_others_have_theirs() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let open = |scene: &mut Scene, number| {
        let answer = scene.ask(number, Op::PoolSubmit, pool, |writer| {
            write_call(writer, b"task", 0);
            write_items(writer, 1, 1, false);
        });
        let (status, fields) = answer.expect("an answer");
        (status, Fields(&fields).id())
    };
    let jobs: Vec<Id> = (0..512).map(|_| open(&mut scene, 1).1.expect("one more")).collect();
    assert_eq!(open(&mut scene, 1), (Status::Full, None));
    assert_eq!(open(&mut scene, 2).0, Status::Done);
    scene.submit(1, pool, 1);
    // What there will be no more of is not one of them, however that came.
    scene.done(1, Op::JobCancel, jobs[0], |_| ());
    assert_eq!(scene.ask(1, Op::Release, jobs[1], |_| ()), None);
    scene.done(1, Op::JobSubmit, jobs[2], |writer| write_items(writer, 0, 0, true));
    scene.work_off(1);
    for _ in 0..3 {
        assert_eq!(open(&mut scene, 1).0, Status::Done);
    }
    assert_eq!(open(&mut scene, 1).0, Status::Full);
    scene.leave(1);
    assert_eq!(open(&mut scene, 1).0, Status::Done);
}

#[test]
fn who_submits_more_than_its_share_waits_and_others_do_not() {
    let mut scene = Scene::new(400_000);
    let pool = scene.pool(1, b"pool");
    let submit = |scene: &mut Scene, number, bytes| {
        scene.ask(number, Op::PoolSubmit, pool, |writer| {
            write_call(writer, b"task", 1);
            write_items(writer, 1, bytes, true);
        })
    };
    assert!(submit(&mut scene, 1, 90_000).is_some());
    assert_eq!(submit(&mut scene, 1, 20_000), None, "that is more than a quarter");
    assert!(submit(&mut scene, 2, 90_000).is_some());
    assert_eq!(submit(&mut scene, 3, 400_000).unwrap().0, Status::Full);
    assert_eq!(submit(&mut scene, 3, 2_000_000).unwrap().0, Status::TooLarge);
    scene.give_out();
    let late = scene.late();
    assert_eq!((late.len(), late[0].0, late[0].1), (1, 1, Status::Done));
    // Who is gone before that has submitted nothing.
    assert!(submit(&mut scene, 1, 90_000).is_some());
    assert_eq!(submit(&mut scene, 1, 20_000), None);
    let objects = scene.done(1, Op::Usage, Id::NONE, |_| ());
    assert_eq!(
        Fields(&objects).u64(),
        Some(1 + 4),
        "the pool, and the jobs that are known"
    );
    assert!(scene.late().is_empty());
}

#[test]
fn chunks_stay_together_and_each_process_has_two() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let submit = |scene: &mut Scene, chunk: u32| {
        scene.done(1, Op::PoolSubmit, pool, |writer| {
            write_call(writer, b"task", chunk);
            write_items(writer, 10_000, 1, true);
        });
    };
    for (job, chunk, whole) in [(0, 30, 30), (1, u32::MAX, 2048)] {
        submit(&mut scene, chunk);
        let mut blocks = Vec::new();
        for (head, _) in scene.store.orders_for(1, scene.now) {
            if head.kind == order::ITEMS {
                blocks.push((head.job, head.number));
            }
        }
        assert_eq!(blocks, [(job, whole); 4]);
        for (_, items) in blocks {
            for index in 0..items {
                let result = Vec::new();
                scene.hear(1, Word::Of(job, News::Done { index, result }));
            }
        }
        scene.hear(1, Word::Of(job, News::Complete));
    }
}
