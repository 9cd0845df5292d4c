//! The fifth version of the tables.

/// What contents that are shared need. `content_id` is the row of `contents`, which goes with the last entry that has it;
/// `uncompared` marks entries that others are like; `released_contents` are those that no entry has and that may still be
/// read; `shared_bytes` is what entries take and contents do not. A process of version 4 inserts entries without a
/// `content_id` and removes contents that it takes for its own: it does not say that it `shares_contents`.
pub(super) const VERSION_5: &str = r"
ALTER TABLE contents
    DROP CONSTRAINT contents_id_fkey,
    ADD COLUMN digest text;
ALTER TABLE entries
    ADD COLUMN content_id bigint,
    ADD COLUMN uncompared boolean NOT NULL DEFAULT false;
UPDATE entries SET content_id = id;
ALTER TABLE entries ALTER COLUMN content_id SET NOT NULL;
UPDATE entries a SET uncompared = true WHERE size > 0 AND EXISTS (
    SELECT FROM entries b WHERE b.repository = a.repository AND b.key = a.key
    AND b.version = a.version AND b.size = a.size AND b.seq < a.seq);
CREATE INDEX entries_content ON entries (content_id);
CREATE INDEX entries_uncompared ON entries (seq) WHERE uncompared;
ALTER TABLE repository_usage ADD COLUMN shared_bytes bigint NOT NULL DEFAULT 0;
CREATE TABLE released_contents (
    id         bigint PRIMARY KEY,
    keep_until bigint NOT NULL
);
ALTER TABLE instances ADD COLUMN shares_contents boolean NOT NULL DEFAULT false;
CREATE TABLE collector (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    owner    bigint NOT NULL
);

CREATE OR REPLACE FUNCTION lock_repository() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(NEW.repository, 0));
    NEW.content_id := coalesce(NEW.content_id, NEW.id);
    NEW.uncompared := NEW.size > 0 AND EXISTS (
        SELECT FROM entries WHERE repository = NEW.repository AND key = NEW.key
        AND version = NEW.version AND size = NEW.size AND content_id <> NEW.content_id);
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION entry_added() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    shared bigint := 0;
BEGIN
    IF NEW.newest_index THEN
        UPDATE entries SET newest_index = false
            WHERE namespace = NEW.namespace AND index_base = NEW.index_base
            AND newest_index AND seq < NEW.seq;
    END IF;
    IF EXISTS (SELECT FROM entries WHERE content_id = NEW.content_id AND seq <> NEW.seq) THEN
        shared := NEW.size;
    END IF;
    INSERT INTO repository_usage VALUES (NEW.repository, NEW.size, 1, shared)
        ON CONFLICT (repository) DO UPDATE
        SET bytes = repository_usage.bytes + excluded.bytes,
            entries = repository_usage.entries + 1,
            shared_bytes = repository_usage.shared_bytes + excluded.shared_bytes;
    RETURN NULL;
END $$;

-- Before each row, so that of several that are removed at once each sees those before it gone.
CREATE FUNCTION entry_leaves_content() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    -- Whoever removes a row by hand has not done so, and a content may be joined meanwhile.
    PERFORM pg_advisory_xact_lock(hashtextextended(OLD.repository, 0));
    IF EXISTS (SELECT FROM entries WHERE content_id = OLD.content_id AND seq <> OLD.seq) THEN
        UPDATE repository_usage SET shared_bytes = shared_bytes - OLD.size
            WHERE repository = OLD.repository;
    ELSE
        DELETE FROM contents WHERE id = OLD.content_id;
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER entry_leaves_content BEFORE DELETE ON entries
    FOR EACH ROW EXECUTE FUNCTION entry_leaves_content();
";
