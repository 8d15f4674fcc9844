//! What `#[task]` accepts, and what it says about the rest: `ui/*.rs` beside the compiler's words in `ui/*.stderr`.
//! After a wanted change of words: `TRYBUILD=overwrite cargo test -p wasmp-guest --test ui`.

#[test]
fn tasks_that_compile_and_tasks_that_do_not() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/accepted.rs");
    cases.compile_fail("tests/ui/rejected_*.rs");
}
