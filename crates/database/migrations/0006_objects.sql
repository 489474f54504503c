-- Files of jobs that are in a store of objects: on their way in (coming), relied on by a row (there), to be removed (unwanted). A row
-- stays until its object is gone, also when its job is not there any more.

CREATE TABLE objects (
    object_key TEXT PRIMARY KEY,
    job_id BIGINT NOT NULL,
    kind TEXT NOT NULL,
    size BIGINT NOT NULL,
    state TEXT NOT NULL,
    due_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX objects_there ON objects (job_id, kind) WHERE state = 'there';
CREATE INDEX objects_job ON objects (job_id);
CREATE INDEX objects_left ON objects (due_at) WHERE state <> 'there';
