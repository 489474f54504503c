//! The runner host: polling, slots, reload, drain, recovery
