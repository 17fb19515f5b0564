//! Prometheus metrics, read from the maps at scrape.
