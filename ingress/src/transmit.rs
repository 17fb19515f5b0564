//! Raw sockets: packets of the daemon to clients and backends.
