//! Log records, and who inherits what of them.

use wasmp_guest::{Level, Pool, Process, Queue, Result, get_logger, log_to_stderr, task};

pub(super) fn run(scenario: &str) -> Result<bool> {
    match scenario {
        "lg_01_logging" => logging(),
        "lg_02_level" => level(),
        "lg_03_filename" => filename(),
        "log_under_evil_names" => evil_names(),
        _ => return Ok(false),
    }?;
    Ok(true)
}

/// Writes a record that is important, and one that is not.
#[task]
fn log() {
    get_logger().error("something\u{1b}[2J is wrong");
    get_logger().info("not written: the level is higher");
}

fn logging() -> Result<()> {
    get_logger().critical("not written: nobody has asked for records");
    Process::new(log).start()?.join()?;
    let logger = log_to_stderr(None);
    assert_eq!(logger.level(), Level::Warning, "nobody has set it");
    logger.set_level(Level::SubWarning);
    logger.debug("this will not be printed");
    logger.info("nor will this");
    logger.log(Level::SubWarning, "this will");
    Process::new(log).start()?.join()?;
    Pool::new(1)?.apply(log, ())?;
    Ok(())
}

/// Puts the level of its logger into the queue, and has its child do so.
#[task]
fn say_level(depth: u32, levels: Queue<String>) -> Result<()> {
    levels.put(get_logger().level().name().to_owned())?;
    if depth > 0 {
        Process::new(say_level).args((depth - 1, &levels)).start()?.join()?;
    }
    Ok(())
}

fn level() -> Result<()> {
    let levels = Queue::<String>::new(0)?;
    for level in [Level::Debug, Level::Critical] {
        get_logger().set_level(level);
        Process::new(say_level).args((1, &levels)).start()?.join()?;
        assert_eq!([levels.get()?, levels.get()?], [level.name(); 2]);
        let pool = Pool::new(1)?;
        pool.apply::<_, _, (), _, _>(say_level, (0, &levels))?;
        // An instance that begins anew in the same worker has not forgotten it.
        assert!(pool.apply::<_, _, (), _, _>(give_up, ()).is_err());
        pool.apply::<_, _, (), _, _>(say_level, (1, &levels))?;
        for _ in 0..3 {
            assert_eq!(levels.get()?, level.name());
        }
    }
    Ok(())
}

/// Spoils its instance.
#[task]
fn give_up() -> Result<()> {
    panic!("told to");
}

fn filename() -> Result<()> {
    let logger = log_to_stderr(Level::Debug);
    logger.set_format("[%(levelname)s] [%(filename)s] %(message)s");
    logger.info("1");
    logger.debug("2");
    Ok(())
}

/// Processes whose names would lead elsewhere if they were paths.
fn evil_names() -> Result<()> {
    log_to_stderr(None);
    for name in [
        "../../evil",
        "/tmp/evil",
        "..",
        "\n\u{1b}]0;evil\u{7}",
        &"n".repeat(255),
    ] {
        Process::new(log).name(name).start()?.join()?;
    }
    Ok(())
}
