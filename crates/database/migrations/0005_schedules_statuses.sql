-- Which schedule started a pipeline; statuses that other systems give commits; from when on wrong passwords of a user count.

ALTER TABLE pipelines ADD COLUMN schedule_id BIGINT;
CREATE INDEX pipelines_schedule ON pipelines (schedule_id, id) WHERE schedule_id IS NOT NULL;

ALTER TABLE users ADD COLUMN unlocked_at BIGINT;

CREATE TABLE commit_statuses (
    id @ID@,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    sha TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    description TEXT,
    target_url TEXT,
    coverage TEXT,
    user_id BIGINT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    UNIQUE (project_id, sha, git_ref, name)
);
