-- Times are milliseconds since 1970 UTC, truths 0 and 1, texts that begin with { or [ JSON. @ID@ and @BYTES@ are put in
-- for each kind of database. A secret is here as its SHA-256, or sealed with the key beside the database.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE users (
    id @ID@,
    username TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    password TEXT,
    admin BIGINT NOT NULL,
    state TEXT NOT NULL,
    locale TEXT NOT NULL DEFAULT '',
    created_at BIGINT NOT NULL
);

CREATE TABLE sessions (
    id @ID@,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash TEXT NOT NULL UNIQUE,
    csrf TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE namespaces (
    id @ID@,
    path TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL
);

CREATE TABLE projects (
    id @ID@,
    namespace_id BIGINT NOT NULL REFERENCES namespaces (id),
    path TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    visibility TEXT NOT NULL,
    default_branch TEXT NOT NULL,
    settings TEXT NOT NULL,
    last_iid BIGINT NOT NULL DEFAULT 0,
    cache_generation BIGINT NOT NULL DEFAULT 0,
    created_by BIGINT,
    created_at BIGINT NOT NULL,
    active_at BIGINT NOT NULL
);

CREATE TABLE members (
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    access_level BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

-- Personal, project and trigger tokens, and the one-time links.
CREATE TABLE tokens (
    id @ID@,
    kind TEXT NOT NULL,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,
    project_id BIGINT REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    scopes TEXT NOT NULL,
    access_level BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    used_at BIGINT
);
CREATE INDEX tokens_user ON tokens (user_id);
CREATE INDEX tokens_project ON tokens (project_id);

-- Without a project: of the whole instance.
CREATE TABLE variables (
    id @ID@,
    project_id BIGINT REFERENCES projects (id) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value @BYTES@ NOT NULL,
    file BIGINT NOT NULL,
    masked BIGINT NOT NULL,
    hidden BIGINT NOT NULL,
    protected BIGINT NOT NULL,
    raw BIGINT NOT NULL,
    environment_scope TEXT NOT NULL,
    description TEXT NOT NULL
);
CREATE UNIQUE INDEX variables_key ON variables (COALESCE(project_id, 0), key, environment_scope);

CREATE TABLE refs (
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    sha TEXT NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE mirrors (
    project_id BIGINT PRIMARY KEY REFERENCES projects (id) ON DELETE CASCADE,
    url @BYTES@ NOT NULL,
    webhook_secret @BYTES@,
    poll_seconds BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    fetched_at BIGINT,
    error TEXT
);

-- Without a project: registers runners of the whole instance.
CREATE TABLE registration_tokens (
    id @ID@,
    project_id BIGINT REFERENCES projects (id) ON DELETE CASCADE,
    hash TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE runners (
    id @ID@,
    kind TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    hint TEXT NOT NULL,
    legacy BIGINT NOT NULL,
    description TEXT NOT NULL,
    maintenance_note TEXT NOT NULL,
    tags TEXT NOT NULL,
    run_untagged BIGINT NOT NULL,
    locked BIGINT NOT NULL,
    protected_only BIGINT NOT NULL,
    maximum_timeout BIGINT,
    paused BIGINT NOT NULL,
    token_expires_at BIGINT,
    created_by BIGINT,
    created_at BIGINT NOT NULL,
    contacted_at BIGINT
);

CREATE TABLE runner_projects (
    runner_id BIGINT NOT NULL REFERENCES runners (id) ON DELETE CASCADE,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    PRIMARY KEY (runner_id, project_id)
);
CREATE INDEX runner_projects_project ON runner_projects (project_id);

CREATE TABLE managers (
    id @ID@,
    runner_id BIGINT NOT NULL REFERENCES runners (id) ON DELETE CASCADE,
    system_id TEXT NOT NULL,
    info TEXT NOT NULL,
    address TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    contacted_at BIGINT NOT NULL,
    UNIQUE (runner_id, system_id)
);

CREATE TABLE pipelines (
    id @ID@,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    iid BIGINT NOT NULL,
    source TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    tag BIGINT NOT NULL,
    sha TEXT NOT NULL,
    before_sha TEXT NOT NULL,
    protected BIGINT NOT NULL,
    status TEXT NOT NULL,
    warnings BIGINT NOT NULL,
    name TEXT,
    title TEXT NOT NULL,
    user_id BIGINT,
    parent_id BIGINT,
    parent_job_id BIGINT,
    config TEXT,
    facts TEXT NOT NULL,
    variables @BYTES@,
    messages TEXT NOT NULL,
    left_out TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    UNIQUE (project_id, iid)
);
CREATE INDEX pipelines_ref ON pipelines (project_id, git_ref, id);
CREATE INDEX pipelines_parent ON pipelines (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX pipelines_bridge ON pipelines (parent_job_id) WHERE parent_job_id IS NOT NULL;
CREATE INDEX pipelines_open ON pipelines (project_id, status) WHERE finished_at IS NULL;

-- position: index in the compiled pipeline. A job that runs again is a new row; the older ones of its position have retried = 1.
CREATE TABLE jobs (
    id @ID@,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    pipeline_id BIGINT NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    name TEXT NOT NULL,
    stage TEXT NOT NULL,
    status TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    allowed BIGINT NOT NULL,
    retried BIGINT NOT NULL,
    run_when TEXT NOT NULL,
    bridge BIGINT NOT NULL,
    tags TEXT NOT NULL,
    protected BIGINT NOT NULL,
    resource_group TEXT,
    environment TEXT,
    timeout BIGINT,
    failure_reason TEXT,
    exit_code BIGINT,
    coverage TEXT,
    played_by BIGINT,
    variables @BYTES@,
    runner_id BIGINT,
    manager_id BIGINT,
    graceful BIGINT NOT NULL DEFAULT 0,
    token_hash TEXT UNIQUE,
    reserved_until BIGINT,
    due_at BIGINT,
    touched_at BIGINT,
    trace_size BIGINT,
    trace_checksum TEXT,
    debug_trace BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    queued_at BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    erased_at BIGINT
);
CREATE INDEX jobs_pipeline ON jobs (pipeline_id, position);
CREATE INDEX jobs_project ON jobs (project_id, id);
CREATE INDEX jobs_queue ON jobs (project_id, protected, tags, id) WHERE status = 'pending' AND runner_id IS NULL AND bridge = 0;
CREATE INDEX jobs_busy ON jobs (status, project_id)
    WHERE status IN ('pending', 'running', 'canceling', 'scheduled', 'waiting_for_resource');
CREATE INDEX jobs_runner ON jobs (runner_id, id);
CREATE INDEX jobs_resource ON jobs (project_id, resource_group) WHERE resource_group IS NOT NULL;

CREATE TABLE job_artifacts (
    id @ID@,
    job_id BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    format TEXT NOT NULL,
    filename TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    public BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    UNIQUE (job_id, kind)
);
CREATE INDEX job_artifacts_expiry ON job_artifacts (expires_at) WHERE expires_at IS NOT NULL;

-- From dotenv reports.
CREATE TABLE job_variables (
    job_id BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    key TEXT NOT NULL,
    value @BYTES@ NOT NULL,
    PRIMARY KEY (job_id, key)
);

-- From junit reports, one row a job.
CREATE TABLE job_tests (
    job_id BIGINT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    total BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    seconds_ms BIGINT NOT NULL,
    report TEXT NOT NULL
);

CREATE TABLE schedules (
    id @ID@,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    owner_id BIGINT,
    description TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    cron TEXT NOT NULL,
    time_zone TEXT NOT NULL,
    active BIGINT NOT NULL,
    variables @BYTES@,
    next_at BIGINT,
    last_pipeline_id BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX schedules_next ON schedules (next_at) WHERE active = 1;

CREATE TABLE environments (
    id @ID@,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    tier TEXT NOT NULL,
    external_url TEXT,
    state TEXT NOT NULL,
    stop_job_id BIGINT,
    auto_stop_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

CREATE TABLE deployments (
    id @ID@,
    iid BIGINT NOT NULL,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    environment_id BIGINT NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    job_id BIGINT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sha TEXT NOT NULL,
    git_ref TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT,
    UNIQUE (project_id, iid)
);
CREATE INDEX deployments_job ON deployments (job_id);
