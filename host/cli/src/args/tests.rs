use super::*;

fn map(typed: &str) -> Result<Map, String> {
    match Cli::read(typed.split_whitespace())
        .map_err(|error| error.to_string())?
        .command
    {
        Command::Map(map) => Ok(map),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn negative_numbers_are_inputs() {
    let map = map("wasmp map m.wasm square -5 7 -j 2 -1.5").expect("valid");
    assert_eq!(map.input, ["-5", "7", "-1.5"]);
    assert_eq!(map.processes, NonZeroUsize::new(2));
}

#[test]
fn options_may_stand_anywhere() {
    let map = map("wasmp map --timeout 1.5s m.wasm -0 t --max-memory 64M --dir .:rw --env A=b --progress never")
        .expect("valid");
    assert_eq!(map.limits.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(map.limits.max_memory, Some(64 << 20));
    assert!(map.null && map.grants.dirs[0].is_writable());
    assert_eq!(map.grants.variables[0].value, "b");
    assert_eq!(map.progress, When::Never);
}

#[test]
fn the_option_for_nul_is_not_taken_for_a_number() {
    let map = map("wasmp map m.wasm t -0").expect("valid");
    assert!(map.null && map.input.is_empty());
}

#[test]
fn inputs_come_from_one_place() {
    assert!(map("wasmp map m t 1 --input f").is_err_and(|error| error.contains("cannot be used with")));
    for typed in ["wasmp map m t 1 -0", "wasmp map -0 m t 1"] {
        assert!(
            map(typed).is_err_and(|error| error.contains("-0 is about inputs that are read")),
            "{typed}"
        );
    }
}

#[test]
fn bad_values_are_named() {
    for (typed, part) in [
        ("--timeout 5", "did you mean 5s"),
        ("--max-memory 5Q", "there is no unit `Q`"),
        ("--dir no/such", "cannot use no/such: no such file or directory"),
        ("--env A", "NAME=VALUE"),
        ("-j 0", "'0' for '--processes <N>'"),
        ("--chunksize 0", "'0' for '--chunksize <N>'"),
        ("--buffersize 0", "'0' for '--buffersize <N>'"),
        ("--max-tasks-per-child 0", "'0' for '--max-tasks-per-child <N>'"),
        ("--isolation 0", "at least one task"),
        ("--isolation process", "`worker`, `task` or a number of tasks"),
        (
            "--retries 1 --retry-on panic",
            "[possible values: lost, timeout, error]",
        ),
        ("--retry-on error", "--retries <N>"),
        ("--backoff 1s", "--retries <N>"),
        ("--retries 1 --backoff 5", "did you mean 5s"),
        ("--initargs []", "--initializer <TASK>"),
        ("--initializer t --initargs 7", "in brackets: [7]"),
        ("--initializer t --initargs [7", "not JSON"),
    ] {
        assert!(
            map(&format!("wasmp map m t {typed}")).is_err_and(|error| error.contains(part)),
            "{typed}"
        );
    }
}

#[test]
fn policies_are_read() {
    let map = map(
        "wasmp map m t --retries 3 --retry-on timeout,error --backoff 10ms --isolation 5 --initializer t \
         --initargs [1,2] --max-tasks-per-child 9 --buffersize 2 --stats --trace t.json",
    )
    .expect("valid");
    assert_eq!(map.limits.retry_on, [RetryOn::Timeout, RetryOn::Error]);
    assert_eq!(map.isolation, wasmp::Isolation::Every(5));
    assert_eq!(map.limits.initargs.map(|Initargs(args)| args.len()), Some(2));
    assert!(map.insight.stats && map.insight.trace.is_some());
}

#[test]
fn everything_after_two_dashes_is_the_commands() {
    let cli = Cli::read(["wasmp", "exec", "m.wasm", "--", "--help", "-x"]).expect("valid");
    assert!(matches!(cli.command, Command::Exec(Exec { arguments, .. }) if arguments == ["--help", "-x"]));
}
