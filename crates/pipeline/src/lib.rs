//! The .gitlab-ci.yml language and the scheduler
