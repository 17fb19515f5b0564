//! The lab: network namespaces, real WireGuard, real clients.
