//! Starting, supervising and stopping children
