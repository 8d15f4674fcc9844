//! Values, arrays, shared memory and lists.
