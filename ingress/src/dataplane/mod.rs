//! Loads, attaches and pins the programs; typed access to their maps.
