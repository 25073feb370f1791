//! Tests of a cluster server's directory.
