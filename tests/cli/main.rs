//! The two programs as a user starts them: exit statuses, standard output and error.

mod client;
mod cluster_client;
mod store;
