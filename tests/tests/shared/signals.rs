//! Events, conditions and barriers.
