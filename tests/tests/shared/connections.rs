//! Pipes and `wait`.
