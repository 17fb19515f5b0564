//! Small BPF programs of the tests' own, instruction by instruction, and running programs on packets.

pub mod assemble;
pub mod baseline;
pub mod gate;
pub mod generator;
mod syscall;
pub mod test_run;
