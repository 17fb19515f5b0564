//! Names to backend addresses.
