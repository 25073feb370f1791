//! The memcached protocol: parser and reply encoder. Pure; borrows from the receive buffer.
