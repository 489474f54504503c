-- The pipeline of another project whose status a bridge has.
ALTER TABLE jobs ADD COLUMN mirrors BIGINT;
CREATE INDEX jobs_mirrors ON jobs (mirrors) WHERE mirrors IS NOT NULL;
