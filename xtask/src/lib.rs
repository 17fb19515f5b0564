//! What the build script of `ingress` and `cargo xtask` share.

pub mod toolchain;
