import type { Knex } from 'knex'

/**
 * What the log is searched by stands in segments of 4,096 entries: for each term the bits of those that have it. It is made from the entries by whoever leads, from
 * the first on; so logs from before are found again some time after the start. Columns of `audit_entries` that said the same are gone: of them only the operation's id is
 * left, by which one operation is found at once.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- By the bytes of the values: networks and patterns are ranges of them.
    CREATE TABLE audit_terms (
      field smallint NOT NULL,
      value text COLLATE "C" NOT NULL,
      segment bigint NOT NULL,
      count int NOT NULL CHECK (count > 0),
      bits bytea NOT NULL CHECK (octet_length(bits) <= 512),
      PRIMARY KEY (field, value, segment) INCLUDE (count)
    );
    CREATE TABLE audit_segments (
      segment bigint PRIMARY KEY,
      first_ms bigint NOT NULL,
      last_ms bigint NOT NULL CHECK (last_ms >= first_ms),
      times bytea NOT NULL CHECK (octet_length(times) = 6 * 4096)
    );
    -- How many segments there are, and how often they were thrown away.
    CREATE TABLE audit_indexed (
      id int PRIMARY KEY CHECK (id = 1),
      segments bigint NOT NULL,
      generation int NOT NULL
    );
    INSERT INTO audit_indexed VALUES (1, 0, 0);

    -- The service may not delete single rows, which would hide entries: it may only begin again.
    CREATE FUNCTION audit_forget_index() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
      UPDATE audit_indexed SET segments = 0, generation = generation + 1 WHERE id = 1;
      TRUNCATE audit_terms, audit_segments;
    END $$;
    REVOKE ALL ON FUNCTION audit_forget_index() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION audit_forget_index() TO gridseal_service;
    GRANT SELECT, INSERT ON audit_terms, audit_segments TO gridseal_service;
    GRANT SELECT ON audit_indexed TO gridseal_service;
    GRANT UPDATE (segments) ON audit_indexed TO gridseal_service;

    DROP INDEX audit_entries_of_grants;
    ALTER TABLE audit_entries DROP COLUMN time, DROP COLUMN operation, DROP COLUMN caller, DROP COLUMN kind, DROP COLUMN code, DROP COLUMN rule;
  `)
}
