import type { Knex } from 'knex'

/**
 * Personal values are erased by one function, which leaves behind that it was so: the service's role can delete nothing of `audit_personal` in another way, and can
 * say of no value that it was erased without erasing it. Names of values are listed by an index: an erasure looks for a value under each of them.
 * Alarms: at most one of a kind is open at a time, on whatever node.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX audit_personal_name ON audit_personal (name);

    -- Where values were, and by which erasure they went. The entry of that erasure has the digest of its rows here.
    CREATE TABLE audit_erasures (
      writer int NOT NULL,
      epoch int NOT NULL,
      seq bigint NOT NULL,
      name text NOT NULL,
      erasure uuid NOT NULL,
      PRIMARY KEY (writer, epoch, seq, name)
    );
    CREATE INDEX audit_erasures_erasure ON audit_erasures (erasure);
    CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_erasures FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();

    -- Values of these blind indexes whose entries were committed before kept_from. What it answers is of what it deleted.
    CREATE FUNCTION audit_erase_personal(
      erasure_id uuid, blind_indexes bytea[], kept_from timestamptz,
      OUT erased_values bigint, OUT erased_entries bigint, OUT earliest timestamptz, OUT latest timestamptz, OUT positions bytea
    ) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
      WITH found AS (
        SELECT p.writer, p.epoch, p.seq, p.name, g.created_at FROM public.audit_personal p
        CROSS JOIN LATERAL (
          SELECT created_at FROM public.audit_groups g WHERE g.writer = p.writer AND g.epoch = p.epoch AND g.first_seq <= p.seq ORDER BY g.first_seq DESC LIMIT 1
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
    REVOKE ALL ON FUNCTION audit_erase_personal FROM PUBLIC;

    CREATE TABLE alarms (
      id uuid PRIMARY KEY,
      kind text NOT NULL,
      detail text NOT NULL,
      raised_at timestamptz(3) NOT NULL,
      acknowledged_by text,
      acknowledged_at timestamptz(3),
      acknowledged_for text,
      cleared_at timestamptz(3),
      version int NOT NULL,
      mac bytea NOT NULL,
      CHECK ((acknowledged_by IS NULL) = (acknowledged_at IS NULL) AND (acknowledged_by IS NULL) = (acknowledged_for IS NULL))
    );
    CREATE UNIQUE INDEX alarms_open ON alarms (kind) WHERE cleared_at IS NULL;
    CREATE TRIGGER never_deleted BEFORE DELETE OR TRUNCATE OR UPDATE OF id, kind, detail, raised_at ON alarms FOR EACH STATEMENT EXECUTE FUNCTION append_only();

    GRANT SELECT ON audit_erasures TO gridseal_service;
    GRANT EXECUTE ON FUNCTION audit_erase_personal TO gridseal_service;
    GRANT SELECT, INSERT ON alarms TO gridseal_service;
    GRANT UPDATE (acknowledged_by, acknowledged_at, acknowledged_for, cleared_at, version, mac) ON alarms TO gridseal_service;
  `)
}
