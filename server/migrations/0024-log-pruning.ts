import type { Knex } from 'knex'

/**
 * Old ranges of the log go into archives and leave the database. Two officers decide on each; what is pruned is a sealed row, and the log names it before anything is
 * deleted. What the log said of rows until there, by which the tables are compared with it, stays as row heads, bound by a digest in that row.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE ceremony_authorisations ADD COLUMN before bigint;
    ALTER TABLE ceremony_authorisations DROP CONSTRAINT ceremony_authorisations_ceremony_check;
    ALTER TABLE ceremony_authorisations ADD CONSTRAINT ceremony_authorisations_ceremony_check
      CHECK (ceremony IN ('adopt-token', 'replace-checkpoint-key', 'prune-log') AND (ceremony = 'prune-log') = (before IS NOT NULL));
    DROP TRIGGER append_only ON ceremony_authorisations;
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF id, ceremony, token, authorised_by, authorised_at, expires_at, before, version
      ON ceremony_authorisations FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    -- The highest counts: entries below it are in the archive alone, or are about to be.
    CREATE TABLE audit_prunes (
      before bigint PRIMARY KEY CHECK (before > 0 AND before % 256 = 0),
      operation_id uuid NOT NULL UNIQUE,
      root bytea NOT NULL CHECK (octet_length(root) = 32),
      heads bytea NOT NULL CHECK (octet_length(heads) = 32),
      checkpoint text NOT NULL,
      -- by the database's clock, when the youngest group with an entry below was committed
      youngest_at timestamptz(3) NOT NULL,
      pruned_at timestamptz(3) NOT NULL,
      authorisation uuid NOT NULL UNIQUE REFERENCES ceremony_authorisations,
      version int NOT NULL,
      mac bytea NOT NULL
    );
    CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE OR UPDATE OF before, operation_id, root, heads, checkpoint, youngest_at, pruned_at, authorisation, version
      ON audit_prunes FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    -- Of each prune, by the bytes of its names: the last that the log says of a row, personal value or writer's sequence below it.
    CREATE TABLE audit_row_heads (
      before bigint NOT NULL,
      relation text COLLATE "C" NOT NULL,
      subject text COLLATE "C" NOT NULL,
      -- the version where a table keeps them beside each other, else 0
      place bigint NOT NULL,
      row_version bigint NOT NULL,
      digest text NOT NULL,
      index bigint NOT NULL,
      time_ms bigint NOT NULL,
      PRIMARY KEY (before, relation, subject, place)
    );

    GRANT SELECT ON audit_prunes, audit_row_heads TO gridseal_service;
    GRANT UPDATE (mac) ON audit_prunes TO gridseal_service;

    -- The service's role has no right to delete. Who owns the tables says that it is meant, which no accident does.
    CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND current_setting('gridseal.pruning', true) = 'on' THEN
        RETURN NULL;
      END IF;
      RAISE EXCEPTION 'the audit log is append-only: % on %', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END $$;

    -- An index that is made again begins with the segment of the first entry that is there.
    CREATE OR REPLACE FUNCTION audit_forget_index() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
      UPDATE audit_indexed SET segments = (SELECT coalesce(max(before), 0) / 4096 FROM audit_prunes), generation = generation + 1 WHERE id = 1;
      TRUNCATE audit_terms, audit_segments;
    END $$;

    -- A value whose entry is pruned is as old as the youngest of what was pruned.
    CREATE OR REPLACE FUNCTION audit_erase_personal(
      erasure_id uuid, blind_indexes bytea[], kept_from timestamptz,
      OUT erased_values bigint, OUT erased_entries bigint, OUT earliest timestamptz, OUT latest timestamptz, OUT positions bytea
    ) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
      WITH found AS (
        SELECT p.writer, p.epoch, p.seq, p.name, g.created_at FROM public.audit_personal p
        CROSS JOIN LATERAL (
          SELECT coalesce(
            (SELECT created_at FROM public.audit_groups g WHERE g.writer = p.writer AND g.epoch = p.epoch AND g.first_seq <= p.seq ORDER BY g.first_seq DESC LIMIT 1),
            (SELECT max(youngest_at) FROM public.audit_prunes)
          ) AS created_at
        ) g
        WHERE p.blind_index = ANY (blind_indexes) AND g.created_at < kept_from
      ), gone AS (
        DELETE FROM public.audit_personal p USING found f WHERE (p.writer, p.epoch, p.seq, p.name) = (f.writer, f.epoch, f.seq, f.name)
        RETURNING p.writer, p.epoch, p.seq, p.name, f.created_at
      ), told AS (
        INSERT INTO public.audit_erasures (writer, epoch, seq, name, erasure) SELECT writer, epoch, seq, name, erasure_id FROM gone ON CONFLICT DO NOTHING
      )
      SELECT count(*), count(DISTINCT (writer, epoch, seq)), min(created_at), max(created_at),
        sha256(convert_to(coalesce(string_agg(format('%s/%s/%s %s', writer, epoch, seq, name), E'\\n' ORDER BY writer, epoch, seq, name COLLATE "C"), ''), 'UTF8'))
      FROM gone
    $$;
  `)
}
