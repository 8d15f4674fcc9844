//! Every example that is a program, run by the command that its first line shows.

use std::collections::BTreeSet;

use crate::outcome::Outcome;
use crate::run::{ROOT, wasmp};
use crate::scene::Folder;

/// What an example prints, line by line. It ends well and does not complain.
#[track_caller]
fn lines(words: &str) -> Vec<String> {
    all_lines(&wasmp(&format!("run -q examples/{words}")).building().run())
}

#[track_caller]
fn all_lines(outcome: &Outcome) -> Vec<String> {
    assert_eq!((outcome.code(), outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    outcome.text().lines().map(str::to_owned).collect()
}

/// An example prints exactly this.
#[track_caller]
fn prints(words: &str, expected: &[&str]) {
    assert_eq!(lines(words), expected);
}

/// An example prints these lines, in whatever order.
#[track_caller]
fn prints_in_any_order(words: &str, expected: &[&str]) {
    let (mut lines, mut expected) = (lines(words), expected.to_vec());
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// The text with `#` for each row of digits.
fn masked(text: &str) -> String {
    let mut masked = String::new();
    for character in text.chars() {
        match character {
            '0'..='9' if masked.ends_with('#') => {}
            '0'..='9' => masked.push('#'),
            other => masked.push(other),
        }
    }
    masked
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Both lines are there, the second behind the first.
#[track_caller]
fn comes_behind(lines: &[String], first: &str, second: &str) {
    let place = |wanted: &str| lines.iter().position(|line| line == wanted);
    let (first, second) = (place(first), place(second));
    assert!(first.is_some() && first < second, "{lines:?}");
}

#[test]
fn pool_map_squares() {
    let lines = lines("pool_map");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(masked(&lines[0]), "CPUs: #");
    assert_eq!(lines[1], "[1, 4, 9]");
}

#[test]
fn processes_are_started_and_joined() {
    let mut lines = lines("processes");
    assert_eq!(lines.pop().as_deref(), Some("all three are done"));
    lines.sort_unstable();
    let expected: Vec<String> = (1..=3).map(|number| format!("hello from process {number}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn pids_are_those_of_parent_and_child() {
    let mut lines = lines("pids");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[3], "main: joined, alive: false");
    lines[1..3].sort_unstable();
    let shapes: Vec<String> = lines[..3].iter().map(|line| masked(line)).collect();
    assert_eq!(
        shapes,
        [
            "main: process #",
            "child: process #, parent #",
            "main: started #, alive: true"
        ]
    );
    let (main, child, started) = (numbers(&lines[0]), numbers(&lines[1]), numbers(&lines[2]));
    assert_eq!(child, [started[0], main[0]]);
    assert_ne!(started, main);
}

#[test]
fn named_processes_have_names() {
    let lines = lines("named");
    assert_eq!(lines.len(), 7, "{lines:?}");
    assert_eq!(lines[0], "I am MainProcess");
    for name in ["Cook", "Waiter", "Process-3"] {
        comes_behind(&lines, &format!("I am {name}"), &format!("{name} is done"));
    }
    comes_behind(&lines, "Cook is done", "Waiter is done");
    comes_behind(&lines, "Waiter is done", "Process-3 is done");
}

#[test]
fn print_lock_keeps_blocks_whole() {
    let lines = lines("print_lock");
    let mut processes = BTreeSet::new();
    for block in lines.chunks(3) {
        let process = numbers(&block[0])[0];
        let expected: Vec<String> = (1..=3).map(|line| format!("process {process}, line {line}")).collect();
        assert_eq!(block, expected, "{lines:?}");
        processes.insert(process);
    }
    assert_eq!(processes, (0..5).collect());
}

#[test]
fn pool_doubling_doubles() {
    prints("pool_doubling", &["[2, 4, 6, 8, 10, 12, 14, 16, 18, 20]"]);
}

#[test]
fn shared_pool_works_for_all_of_them() {
    prints(
        "shared_pool",
        &[
            "my own: 1000",
            "theirs: [(\"Ada\", 36), (\"Grace\", 189), (\"Mary\", 216)]",
            "the workers have gone",
        ],
    );
}

#[test]
fn apply_async_timeout_waits_for_its_result() {
    prints("apply_async_timeout", &["100"]);
}

#[test]
fn pool_reference_shows_every_call() {
    prints(
        "pool_reference",
        &[
            "apply: 1024",
            "map: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
            "map, three items at a time: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]",
            "starmap: [8, 9, 1000000]",
            "apply_async: 144",
            "map_async: [1, 4, 9]",
            "starmap_async: [1, 4, 27]",
            "callback: 3",
            "error_callback: 12 cannot be divided by 0",
            "imap: [0, 1, 4, 9, 16]",
            "imap: nothing within 50ms",
            "imap: slept for 500 ms",
            "imap: slept for 0 ms",
            "imap_unordered: [0, 1, 4, 9, 16]",
            "initializer: [101, 102, 103]",
            "max_tasks_per_child: 6 tasks in 6 processes",
        ],
    );
}

#[test]
fn async_result_answers_before_and_after() {
    prints(
        "async_result",
        &[
            "ready: false, successful: None",
            "nothing within 100ms",
            "ready: true, successful: Some(true)",
            "slept for 1000 ms",
        ],
    );
}

#[test]
fn pipes_go_one_way_and_both_ways() {
    prints(
        "pipes",
        &[
            "heard \"hello\"",
            "heard \"from\"",
            "heard \"afar\"",
            "the end of the words",
            "3 squared is 9",
            "12 squared is 144",
            "the answerer ended with Some(0)",
        ],
    );
}

#[test]
fn process_type_answers_until_it_is_stopped() {
    prints(
        "process_type",
        &[
            "Good morning, Earth! (Greeter no. 1)",
            "Good morning, Moon! (Greeter no. 2)",
            "ended with Some(0)",
        ],
    );
}

#[test]
fn factorials_are_exact() {
    prints(
        "factorials",
        &[
            "12345678901² = 152415787526596567801",
            "999999999999² = 999999999998000000000001",
            "18446744073709551615² = 340282366920938463426481119284349108225",
            "20! = 2432902008176640000",
            "30! = 265252859812191058636308480000000",
            "1000! = 40238726007709377354… (2568 digits)",
            "5000! = 42285779266055435222… (16326 digits)",
        ],
    );
}

#[test]
fn producers_consumers_consume_everything_once() {
    let lines = lines("producers_consumers");
    assert!(lines.contains(&"10 of 10 items consumed".to_owned()), "{lines:?}");
    let mut consumed = Vec::new();
    for line in &lines {
        match masked(line).as_str() {
            "consumer #: item #" => consumed.push(numbers(line)[1]),
            "consumer #: still waiting" | "# of # items consumed" => {}
            _ => panic!("{lines:?}"),
        }
    }
    consumed.sort_unstable();
    assert_eq!(consumed, [100, 101, 102, 103, 104, 200, 201, 202, 203, 204]);
}

#[test]
fn shared_counter_loses_nothing() {
    prints("shared_counter", &["with a lock: 40000", "by updates: 40000"]);
}

#[test]
fn shared_dict_is_one_dictionary_for_all() {
    prints(
        "shared_dict",
        &[
            "squares: [(1, 1), (2, 4), (3, 9), (4, 16), (5, 25)]",
            "visits: 5",
            "numbers: [1, 2, 3, 4, 5]",
            "one more: [1, 2, 3, 4, 5, 6]",
        ],
    );
}

#[test]
fn registered_type_is_one_account_for_all() {
    prints(
        "registered_type",
        &[
            "saved: 1000",
            "in the till: 3000",
            "in the purse: 5",
            "refused: 10 cents are wanted, and 5 are there",
        ],
    );
}

#[test]
fn word_counter_counts_every_word() {
    let files = ["README.md", "LICENSE-MIT", "host/cli/CONTRACT.md"];
    let words = |file: &&str| {
        let text = std::fs::read_to_string(format!("{ROOT}/{file}"))
            .expect("readable")
            .to_lowercase();
        let words = text.split(|letter: char| !letter.is_alphanumeric() && letter != '\'');
        words.filter(|word| !word.is_empty()).count()
    };
    let total: usize = files.iter().map(words).sum();
    let command = format!("run --dir . examples/word_counter {}", files.join(" "));
    let outcome = wasmp(&command).building().run();
    let printed: Vec<&str> = outcome.text().lines().collect();
    assert_eq!(printed.len(), 11, "{printed:?}");
    assert_eq!(printed[0], format!("3 files, {total} words"));
    assert!(printed[1].ends_with(" the"), "{printed:?}");
}

#[test]
fn image_resize_paints_images_and_shrinks_them() {
    let folder = Folder::new();
    let command = || {
        wasmp("run -q")
            .arg(format!("{}:rw", folder.granted_as("/images")))
            .words("examples/image_resize")
            .building()
            .run()
    };
    let expected = [
        "circles.jpg: 1024×256 -> 128×32",
        "circles.png: 500×500 -> 128×128",
        "gradient.jpg: 300×600 -> 64×128",
        "gradient.png: 640×480 -> 128×96",
    ];
    assert_eq!(all_lines(&command()), expected);
    assert_eq!(folder.files(), ["in", "out"]);
    for name in ["circles.jpg", "circles.png", "gradient.jpg", "gradient.png"] {
        let begins: &[u8] = if name.ends_with(".png") {
            b"\x89PNG"
        } else {
            b"\xff\xd8\xff"
        };
        for place in ["in", "out"] {
            let path = folder.path().join(place).join(name);
            let image = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert!(image.starts_with(begins), "{}", path.display());
        }
    }
    // Those that are there are not painted again.
    let only = folder.path().join("in/circles.png");
    std::fs::copy(folder.path().join("out/gradient.png"), &only).expect("a copy");
    for name in ["circles.jpg", "gradient.jpg", "gradient.png"] {
        std::fs::remove_file(folder.path().join("in").join(name)).expect("a file");
    }
    assert_eq!(all_lines(&command()), ["circles.png: 128×96 -> 128×96"]);
}

#[test]
fn image_resize_needs_a_folder() {
    let outcome = wasmp("run -q examples/image_resize").building().run();
    assert_eq!((outcome.code(), outcome.text()), (1, ""));
    outcome.says(&["--dir FOLDER::/images:rw"]);
}

#[test]
fn matrix_has_the_same_product_in_parallel() {
    let shapes: Vec<String> = lines("matrix 200").iter().map(|line| masked(line)).collect();
    assert_eq!(
        shapes,
        [
            "#×#, sequential: # ms",
            "#×#, # processes: # ms",
            "the same product: true"
        ]
    );
}

#[test]
fn risky_tasks_fail_alone() {
    let mut lines = lines("risky_tasks");
    assert_eq!(lines.pop().as_deref(), Some("the others: [10, 20, 40, 60]"));
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], "task 3 failed: three is not allowed");
    assert!(
        lines[1].starts_with("task 5 failed: five was not expected (examples/risky_tasks/src/main.rs:"),
        "{lines:?}"
    );
}

#[test]
fn scaling_prints_a_table() {
    let lines = lines("scaling 100000");
    assert_eq!(lines[0], "9592 primes below 100000");
    assert_eq!(lines[1], " processes      time speedup");
    let words = |line: &str| masked(line).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&lines[2]), "sequential # ms #.#x");
    let mut sizes = Vec::new();
    for line in &lines[3..] {
        assert_eq!(words(line), "# # ms #.#x");
        sizes.push(numbers(line)[0]);
    }
    assert!(sizes.is_sorted(), "{sizes:?}");
    assert!([1, 2, 4].iter().all(|size| sizes.contains(size)), "{sizes:?}");
}

#[test]
fn worker_report_comes_from_every_worker() {
    let lines = lines("worker_report");
    assert_eq!(lines.len(), 4, "{lines:?}");
    for line in &lines {
        assert_eq!(masked(line), "PoolWorker-#: process # on wasm#");
    }
    let pids: BTreeSet<u64> = lines.iter().map(|line| numbers(line)[1]).collect();
    assert_eq!(pids.len(), 4, "{lines:?}");
}

#[test]
fn process_manager_starts_again_what_has_crashed() {
    prints_in_any_order(
        "process_manager --demo",
        &[
            "Worker 1: started",
            "Worker 1: at work",
            "Worker 2: started",
            "Worker 2: ended with Some(3)",
            "Worker 2: started",
            "Worker 2: at work",
            "Worker 3: started",
            "Worker 3: at work",
            "Worker 1: stopped with Some(0)",
            "Worker 2: stopped with Some(0)",
            "Worker 3: stopped with Some(0)",
        ],
    );
}

#[test]
fn process_manager_shuts_down_at_ctrl_c() {
    // Built apart, since lines of a command that may have to build first take longer than a test waits for them.
    let built = wasmp("build --release examples/process_manager").building().run();
    assert_eq!(built.code(), 0, "{built:?}");
    let running = wasmp("run -q").arg(built.text().trim_end()).start();
    let mut begun: Vec<String> = (0..6).map(|_| running.stdout.next()).collect();
    begun.sort_unstable();
    let expected: Vec<String> = (1..=3)
        .flat_map(|number| [format!("Worker {number}: at work"), format!("Worker {number}: started")])
        .collect();
    assert_eq!(begun, expected);
    running.interrupt();
    running.end().prints(
        "interrupted\n\
         Worker 1: stopped with Some(0)\n\
         Worker 2: stopped with Some(0)\n\
         Worker 3: stopped with Some(0)\n",
    );
}

#[test]
fn queue_sum_sums_until_it_is_stopped() {
    prints("queue_sum", &["the sum is 5050"]);
}

#[test]
fn bounded_queue_makes_the_producer_wait() {
    let mut lines = lines("bounded_queue");
    assert_eq!(lines.pop().as_deref(), Some("consumer: the sum is 55"));
    assert!(!lines.is_empty(), "nobody has waited");
    for line in &lines {
        assert_eq!(masked(line), "producer: no room for #, waiting");
    }
}

#[test]
fn start_methods_differ_in_what_is_copied() {
    prints(
        "start_methods",
        &[
            "by default: forkserver",
            "forkserver: the number is 1",
            "spawn: the number is 1",
            "fork: the number is 42",
        ],
    );
}
