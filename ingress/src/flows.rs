//! The flow table: install, list, expire.
