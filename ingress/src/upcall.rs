//! Packets that the programs hand up, as typed events.
