//! What a pool is to be, and how calls on it are treated.

use super::*;

#[test]
fn what_a_crew_is_prepared_with_is_counted_until_it_has_it() {
    let mut scene = Scene::new(1 << 20);
    let before = scene.used();
    let args = vec![7; 100_000];
    let id = scene.done(1, Op::NewPool, Id::NONE, |writer| {
        write_wanted(writer, 0, 3, Some((b"prepare", &args)));
    });
    let mut request = Vec::new();
    let mut writer = Writer(&mut request);
    writer.request(Op::NewPool, Id::NONE);
    write_wanted(&mut writer, 0, 3, Some((b"prepare", &args)));
    let wish = scene.store.wish(&request).unwrap();
    assert_eq!((wish.processes, wish.max_tasks), (2, 3), "one for each CPU");
    let prepare: Option<Prepare> = decode(&wish.start).unwrap();
    let prepare = prepare.unwrap();
    assert_eq!((prepare.task.as_str(), prepare.args.len()), ("prepare", 100_000));
    assert!(scene.used() > before + 100_000);
    scene.give_out();
    assert!(scene.used() < before + 1000);
    assert_eq!(scene.ask(1, Op::Release, Fields(&id).id().unwrap(), |_| ()), None);
    scene.give_out();
    scene.end(1);
    assert_eq!(scene.used(), before);
}

#[test]
fn a_request_for_a_pool_that_makes_no_sense_makes_none() {
    let mut scene = Scene::new(1 << 30);
    let before = scene.used();
    let (long, longer) = (vec![b'x'; 1025], vec![0; 1 << 20]);
    let asked: [(&[u8], &[u8], Status); 4] = [
        (b"\xff\xfe", b"", Status::Malformed),
        (&long, b"", Status::TooLarge),
        (b"task", &longer, Status::TooLarge),
        (b"task", &longer[..(1 << 20) - 4 - 64], Status::Done),
    ];
    for (task, args, told) in asked {
        let answer = scene.ask(1, Op::NewPool, Id::NONE, |writer| {
            write_wanted(writer, 1, 0, Some((task, args)));
        });
        assert_eq!(answer.unwrap().0, told);
    }
    let cut = [
        scene.ask(1, Op::NewPool, Id::NONE, |writer| writer.u32(1)),
        scene.ask(1, Op::NewPool, Id::NONE, |writer| {
            writer.u32(1);
            writer.u32(1);
            writer.item(b"task");
        }),
    ];
    assert!(cut.iter().all(|answer| answer.as_ref().unwrap().0 == Status::Malformed));
    scene.leave(1);
    scene.give_out();
    scene.end(1);
    assert_eq!(scene.used(), before);
    let mut full = Scene::new(10_000);
    let answer = full.ask(1, Op::NewPool, Id::NONE, |writer| {
        write_wanted(writer, 1, 0, Some((b"task", &longer[..20_000])));
    });
    assert_eq!(answer.unwrap().0, Status::Full);
}

/// What a job was told of its calls.
fn treated(scene: &Scene, job: u32) -> (u64, Retry) {
    let work = &scene.crews[&1].jobs[&job];
    (work.timeout, work.retry)
}

#[test]
fn calls_are_treated_as_they_say_or_else_as_their_pool_says() {
    let mut scene = Scene::new(1 << 20);
    let pools = Policy {
        timeout: Some(Duration::from_nanos(7)),
        retry: Some(Retry::times(3)),
    };
    let fields = scene.done(1, Op::NewPool, Id::NONE, |writer| {
        writer.u32(2);
        writer.u32(0);
        pools.write(writer);
        writer.option(None);
    });
    let pool = Fields(&fields).id().unwrap();
    let submit = |scene: &mut Scene, policy: Policy| {
        scene.done(1, Op::PoolSubmit, pool, |writer| {
            writer.item(b"task");
            writer.u32(0);
            policy.write(writer);
            write_items(writer, 1, 1, true);
        });
    };
    submit(&mut scene, Policy::default());
    submit(
        &mut scene,
        Policy {
            timeout: Some(Duration::MAX),
            ..Policy::default()
        },
    );
    submit(
        &mut scene,
        Policy {
            retry: Some(Retry::default()),
            ..Policy::default()
        },
    );
    scene.give_out();
    assert_eq!(treated(&scene, 0), (7, Retry::times(3)));
    assert_eq!(treated(&scene, 1), (u64::MAX, Retry::times(3)));
    assert_eq!(treated(&scene, 2), (7, Retry::default()));
}

#[test]
fn an_initializer_may_take_as_long_as_an_item() {
    let scene = Scene::new(1 << 20);
    let mut request = Vec::new();
    let mut writer = Writer(&mut request);
    writer.request(Op::NewPool, Id::NONE);
    writer.u32(1);
    writer.u32(0);
    let policy = Policy {
        timeout: Some(Duration::from_nanos(9)),
        retry: None,
    };
    policy.write(&mut writer);
    writer.option(None);
    assert_eq!(scene.store.wish(&request).unwrap().patience, 9);
}

#[test]
fn a_pool_that_has_another_size_takes_as_many_items_as_that_can_do() {
    let mut scene = Scene::new(1 << 30);
    let pool = scene.pool(1, b"pool");
    let resize = |scene: &mut Scene, processes: u32| -> Status {
        let answer = scene.ask(2, Op::PoolResize, pool, |writer| writer.u32(processes));
        answer.unwrap().0
    };
    let at_work = |scene: &Scene| -> usize { scene.crews[&1].jobs.values().map(|work| work.waiting.len()).sum() };
    scene.submit(1, pool, 1000);
    scene.give_out();
    assert_eq!(at_work(&scene), 8, "four for each process");
    for (processes, status) in [(0, Status::Invalid), (MOST + 1, Status::ProcessLimit)] {
        assert_eq!(resize(&mut scene, processes), status);
        scene.give_out();
        assert_eq!(at_work(&scene), 8);
    }
    assert_eq!(resize(&mut scene, 5), Status::Done);
    scene.give_out();
    assert_eq!(at_work(&scene), 20);
    scene.done(1, Op::PoolClose, pool, |_| ());
    assert_eq!(resize(&mut scene, 2), Status::NotRunning);
}
