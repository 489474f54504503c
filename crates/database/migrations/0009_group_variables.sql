-- Variables of groups: neither of a project nor of the instance.

ALTER TABLE variables ADD COLUMN namespace_id BIGINT REFERENCES namespaces (id) ON DELETE CASCADE;
DROP INDEX variables_key;
CREATE UNIQUE INDEX variables_key ON variables (COALESCE(project_id, 0), COALESCE(namespace_id, 0), key, environment_scope);
