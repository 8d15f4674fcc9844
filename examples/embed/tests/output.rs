//! The program runs, and says what it should.

use std::process::Command;

#[test]
fn it_shows_every_call_and_both_failures() {
    let run = Command::new(env!("CARGO_BIN_EXE_embed")).output().expect("the program");
    assert_eq!(
        (run.status.code(), String::from_utf8_lossy(&run.stderr).as_ref()),
        (Some(0), "")
    );
    assert_eq!(
        String::from_utf8_lossy(&run.stdout),
        "apply: 49\n\
         apply_async: 64\n\
         map: [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]\n\
         starmap: [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]\n\
         imap: Some(1002001)\n\
         a trap: wasm trap: integer divide by zero\n\
         a deadline: ran longer than 100ms and was killed\n\
         still there: 81\n"
    );
}
