//! The tokio-uring shell of the control plane.
