//! The sans-IO heart: from a client's first bytes to a spliced connection.
