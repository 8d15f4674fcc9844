//! What CPython's own tests ask of a pool and of an executor, asked of the pools that tasks make: what each test does is the
//! task of the same name, in `guests/tasks/src/parity.rs` and `executor.rs`. `nested.rs` has the ids that are missing here, but for
//! these, of which a task can have nothing:
//!
//! | id | why |
//! | --- | --- |
//! | PL-21 | there is no pool of threads: a guest has one |
//! | PX-17 | the pools of tasks keep all of their workers, so none comes only when it is needed |
//! | PX-26 | a pool belongs to the instance that has made it, and cannot go on without: see PL-25 |

use wasmp::ErrorKind;
use wasmp_tests::isolated;

use crate::common::{builder, check, check_in, close, listen, only_outer_workers_are_left, task_error};

/// Tests that are nothing but a task.
macro_rules! checked_by_tasks {
    ($($name:ident)*) => {
        $(#[test] fn $name() { isolated(|| check(stringify!($name))); })*
    };
}

checked_by_tasks! {
    pl_04_starmap_async_spreads_each_input_over_the_parameters
    pl_06_the_callback_gets_the_whole_list_and_the_error_callback_the_error
    pl_07_px_01_unserializable_arguments_are_the_callers_error
    pl_08_px_14_items_go_in_chunks_of_any_size_but_0
    pl_10_apply_async_returns_before_its_result
    pl_11_get_with_a_timeout_stops_waiting_and_the_task_goes_on
    pl_13_imap_delivers_what_came_before_an_input_that_cannot_be_sent
    pl_15_imap_unordered_gives_only_expected_values_before_an_input_that_cannot_be_sent
    pl_16_px_16_a_pool_has_as_many_workers_as_asked
    pl_18_nothing_in_gives_nothing_out_and_the_pool_closes
    pl_19_px_21_a_pool_that_was_closed_or_terminated_takes_no_more_work
    pl_23_arguments_are_released_when_they_are_submitted
    pl_24_closing_and_joining_again_changes_nothing
    pe_02_px_05_a_result_that_cannot_be_encoded_fails_its_item
    pw_01_no_worker_does_more_tasks_than_it_may
    pw_03_a_worker_without_tasks_is_refused
    pw_04_a_pool_that_is_left_at_exit_keeps_nobody
    pw_05_a_pool_that_cannot_be_made_leaves_nothing
    px_02_arguments_may_do_anything_when_they_are_decoded
    px_06_a_result_that_cannot_be_decoded_is_the_callers_error
    px_07_a_crash_while_the_pool_shuts_down_is_one_failure
    px_08_a_pool_that_was_given_nothing_it_could_send_closes
    px_12_each_result_has_an_error_of_its_own
    px_15_a_task_keeps_no_arguments
    px_18_a_worker_does_exactly_as_many_tasks_as_it_may
    px_20_g_22_what_is_left_at_the_end_is_finished_by_replaced_workers
    px_22_join_waits_for_what_was_submitted
    px_23_what_waits_is_cancelled_and_the_rest_finishes
}

#[test]
fn pl_25_a_pool_that_is_dropped_ends_its_busy_workers() {
    isolated(|| {
        let pool = builder(1).on_output(|_| ()).build().unwrap();
        for _ in 0..3 {
            let task = "pl_25_a_pool_that_is_dropped_ends_its_busy_workers";
            pool.apply::<_, ()>(task, ()).unwrap();
            only_outer_workers_are_left(&pool);
        }
        close(&pool);
    });
}

#[test]
fn pl_26_two_hundred_workers_map_a_thousand_items() {
    isolated(|| {
        let (builder, lines) = listen(builder(1).max_processes(200));
        let pool = builder.build().unwrap();
        pool.apply::<_, ()>("pl_26_two_hundred_workers_map_a_thousand_items", ())
            .unwrap();
        close(&pool);
        drop(pool);
        assert_eq!(lines.rest(), []);
    });
}

/// A panic ends the instance, and nobody in it can catch that: so it is the error of whoever waits for the task.
#[test]
fn pl_27_g_04_a_callback_that_panics_fails_the_task_that_has_it_and_the_pool_goes_on() {
    isolated(|| {
        let pool = builder(1).build().unwrap();
        for _ in 0..3 {
            let error = task_error(pool.apply::<_, ()>("call_back_and_panic", ()));
            assert_eq!(error.kind, ErrorKind::Panic);
            assert!(error.message.contains("told to panic"), "{}", error.message);
            only_outer_workers_are_left(&pool);
            assert_eq!(pool.apply::<_, i64>("square", (3,)).unwrap(), 9);
        }
        close(&pool);
    });
}

#[test]
fn pw_06_a_worker_uses_queues_and_pools_of_its_own_and_prints_once() {
    isolated(|| {
        let (builder, lines) = listen(builder(1));
        let pool = builder.build().unwrap();
        pool.apply::<_, ()>("pw_06_a_worker_uses_queues_and_pools_of_its_own", ())
            .unwrap();
        close(&pool);
        drop(pool);
        let printed: Vec<String> = lines.rest().into_iter().map(|line| line.text).collect();
        assert_eq!(printed, ["before, and after\n"]);
    });
}

#[test]
fn pw_07_a_task_that_has_itself_called_for_ever_comes_to_an_end() {
    isolated(|| {
        check_in(
            builder(1).max_processes(20),
            "pw_07_a_task_that_has_itself_called_for_ever_comes_to_an_end",
        );
    });
}
