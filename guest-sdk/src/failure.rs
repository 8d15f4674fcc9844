//! Why an item failed, on its way to the host.

/// One of the `FAIL_…` kinds of the ABI and what to tell the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    pub(crate) kind: i32,
    pub(crate) message: String,
}
