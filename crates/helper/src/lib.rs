//! git, archives, artifacts and caches for a job
