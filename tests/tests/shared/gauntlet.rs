//! Where CPython fails: workers that are killed with something in their hands, and the like.
