//! ingressd: the rooms wired together.
