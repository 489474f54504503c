//! HTTP of the runner API
