-- sha is the commit of the source branch that was dealt with last; version counts how often it has moved.
CREATE TABLE merge_requests (
    id @ID@,
    iid BIGINT NOT NULL,
    project_id BIGINT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    source_branch TEXT NOT NULL,
    target_branch TEXT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    state TEXT NOT NULL,
    author_id BIGINT,
    sha TEXT NOT NULL,
    version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    closed_at BIGINT,
    merged_at BIGINT,
    UNIQUE (project_id, iid)
);
CREATE UNIQUE INDEX merge_requests_open ON merge_requests (project_id, source_branch, target_branch) WHERE state = 'opened';

ALTER TABLE projects ADD COLUMN last_merge_request BIGINT NOT NULL DEFAULT 0;

ALTER TABLE pipelines ADD COLUMN merge_request_id BIGINT;
CREATE INDEX pipelines_merge_request ON pipelines (merge_request_id, id) WHERE merge_request_id IS NOT NULL;
