-- Beside the settings, because it is asked for each job that becomes free.
ALTER TABLE projects ADD COLUMN shared_runners BIGINT NOT NULL DEFAULT 1;
UPDATE projects SET shared_runners = 0 WHERE settings LIKE '%"shared_runners":false%';
