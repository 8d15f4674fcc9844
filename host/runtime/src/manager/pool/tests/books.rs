//! Whatever is asked, in whatever order.

use super::*;

#[test]
fn whatever_is_asked_and_done_the_books_are_right_and_nothing_is_left() {
    fuzz_with(|random| {
        let mut scene = Scene::new(20_000);
        let mut ids = vec![Id::NONE];
        let mut crews = Vec::new();
        for _ in 0..3000 {
            let (number, id) = (1 + random.below(3) as u32, ids[random.below(ids.len())]);
            match random.below(12) {
                0 if crews.len() < 10 => {
                    let answer = scene.ask(number, Op::NewPool, Id::NONE, |writer| {
                        let args = vec![0; random.below(5000)];
                        let initializer = (random.below(2) > 0).then_some((&b"task"[..], &args[..]));
                        write_wanted(writer, 1, 0, initializer);
                    });
                    if let Some((Status::Done, fields)) = answer {
                        ids.extend(Fields(&fields).id());
                        crews.push(scene.hired);
                    }
                }
                1..=3 => {
                    let (items, len, last) = (random.below(8) as u32, random.below(1500), random.below(3) > 0);
                    let submitted = scene.ask(number, Op::PoolSubmit, id, |writer| {
                        write_call(writer, b"task", 0);
                        write_items(writer, items, len, last);
                    });
                    if let Some((Status::Done, fields)) = submitted {
                        ids.extend(Fields(&fields).id());
                    }
                }
                4 => {
                    let (items, last) = (random.below(4) as u32, random.below(2) > 0);
                    scene.ask(number, Op::JobSubmit, id, |writer| write_items(writer, items, 10, last));
                }
                5 => {
                    let (seen, all) = (random.below(4) as u64, random.below(2) > 0);
                    let time = [0, 1, FOREVER][random.below(3)];
                    scene.outcomes(number, id, seen, all, time);
                }
                6 => {
                    let op = [Op::JobCancel, Op::PoolClose, Op::Release, Op::Keep, Op::KeepAll][random.below(5)];
                    scene.ask(number, op, id, |_| ());
                }
                7 if random.below(20) == 0 => {
                    scene.ask(number, Op::PoolTerminate, id, |_| ());
                }
                7 if random.below(4) == 0 => {
                    let processes = random.below(80) as u32;
                    scene.ask(number, Op::PoolResize, id, |writer| writer.u32(processes));
                }
                7 => {
                    scene.ask(number, Op::PoolJoin, id, |writer| writer.u64(FOREVER));
                }
                8 if random.below(10) == 0 => scene.leave(number),
                8 => scene.store.expire(Instant::now()),
                9 => {
                    scene.now += Duration::from_millis(random.below(30) as u64);
                    scene.give_out();
                }
                _ if !crews.is_empty() => {
                    let at = random.below(crews.len());
                    let (crew, bytes) = (crews[at], random.below(3000));
                    let Crew {
                        jobs,
                        closed,
                        terminated,
                    } = &scene.crews[&crew];
                    if *terminated || (*closed && jobs.is_empty()) {
                        scene.end(crew);
                        crews.remove(at);
                    } else if let Some(job) = jobs.keys().nth(random.below(jobs.len().max(1))) {
                        scene.work(crew, *job, bytes);
                    }
                }
                _ => {}
            }
            for (_, status, fields) in scene.late() {
                if status == Status::Done && fields.len() == Id::LEN {
                    ids.extend(Fields(&fields).id());
                }
            }
            if ids.len() > 30 {
                ids.drain(..10);
            }
        }
        for number in 0..4 {
            scene.leave(number);
        }
        scene.give_out();
        for crew in crews {
            if scene.crews[&crew].terminated {
                scene.end(crew);
            }
        }
        scene.store.audit();
        assert_eq!(scene.store.pools.bytes(&scene.store.ledger), 0);
    });
}
