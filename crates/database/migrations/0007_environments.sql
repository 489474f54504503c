-- The tables of the first step were never written to.
DROP TABLE deployments;
DROP TABLE environments;

-- tier is what somebody has said; without it the name says. Where only_with_action is 1, time stops what has a job for it.
CREATE TABLE environments (
    id @ID@,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    description TEXT,
    tier TEXT,
    external_url TEXT,
    state TEXT NOT NULL,
    auto_stop_at BIGINT,
    only_with_action BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);
CREATE INDEX environments_auto_stop ON environments (auto_stop_at) WHERE auto_stop_at IS NOT NULL AND state = 'available';

-- It outlives the job that made it. url is the job's, once its variables are known.
CREATE TABLE deployments (
    id @ID@,
    iid BIGINT NOT NULL,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    environment_id BIGINT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    job_id BIGINT REFERENCES jobs (id) ON DELETE SET NULL,
    sha TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    tag BIGINT NOT NULL,
    user_id BIGINT,
    url TEXT,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    UNIQUE (project_id, iid)
);
CREATE INDEX deployments_job ON deployments (job_id);
CREATE INDEX deployments_environment ON deployments (environment_id, id);
