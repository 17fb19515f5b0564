//! The PostgreSQL preamble: SSLRequest, GSSENCRequest, direct TLS.
