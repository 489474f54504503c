-- The table of the first step was never written to.
DROP TABLE mirrors;

-- url is without a log-in, which is sealed beside it. next_at is far away while a fetch is under way; who asks for another one
-- meanwhile sets it, and the end of the fetch only ever brings it nearer.
CREATE TABLE mirrors (
    project_id BIGINT PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    url TEXT NOT NULL,
    login @BYTES@,
    webhook_secret @BYTES@,
    user_id BIGINT,
    enabled BIGINT NOT NULL,
    trigger_builds BIGINT NOT NULL,
    pull_requests BIGINT NOT NULL,
    interval_seconds BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    started_at BIGINT,
    tried_at BIGINT,
    fetched_at BIGINT,
    failures BIGINT NOT NULL DEFAULT 0,
    error TEXT
);
