//! The configuration file: parsed, checked as a whole, with errors that name line and remedy.
